//! Which shipment goes out now, and which waits for an earlier one of its lane. Pure.
//!
//! Rows are claimed ahead of the broker's answers about earlier rows of their keys, so that the store and the broker work at the
//! same time. What is claimed meanwhile waits here, and travels together once the earlier rows are known to be published.

use std::collections::HashMap;

use super::judge::Shipment;
use crate::lane::Lane;

/// The lanes that have a shipment on its way, each with what waits behind it.
#[derive(Debug, Default)]
pub(super) struct Lanes(HashMap<Lane, Option<Shipment>>);

impl Lanes {
    /// Gives the shipment back where it goes out now.
    pub(super) fn enter(&mut self, shipment: Shipment) -> Option<Shipment> {
        let Some(lane) = shipment.lane else { return Some(shipment) };
        match self.0.get_mut(&lane) {
            None => {
                self.0.insert(lane, None);
                return Some(shipment);
            }
            Some(Some(waiting)) => waiting.append(shipment),
            Some(waiting) => *waiting = Some(shipment),
        }
        None
    }

    /// What was on its way has been answered for. Gives what waited behind it.
    pub(super) fn leave(&mut self, lane: Option<Lane>) -> Option<Shipment> {
        self.0.remove(&lane?).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::Lanes;
    use crate::lane::Lane;
    use crate::relay::judge::{Row, Shipment};
    use crate::store::Claim;

    const NONE: [i64; 0] = [];

    fn shipment(lane: Option<Lane>, seq: i64) -> Shipment {
        Shipment { lane, rows: vec![Row { claim: Claim { seq, fence: 1 }, attempts: 0 }], batch: Vec::new() }
    }

    fn numbers(shipment: Option<Shipment>) -> Vec<i64> {
        shipment.into_iter().flat_map(|shipment| shipment.rows).map(|row| row.claim.seq).collect()
    }

    #[test]
    fn what_follows_on_a_lane_waits_and_travels_together() {
        let mut lanes = Lanes::default();
        assert_eq!(numbers(lanes.enter(shipment(Some(7), 1))), [1]);
        for seq in 2..5 {
            assert_eq!(numbers(lanes.enter(shipment(Some(7), seq))), NONE);
        }
        assert_eq!(numbers(lanes.enter(shipment(Some(8), 5))), [5], "another lane");
        assert_eq!(numbers(lanes.leave(Some(7))), [2, 3, 4]);
        assert_eq!(numbers(lanes.enter(shipment(Some(7), 6))), [6], "nothing of it is on its way");
        assert_eq!(numbers(lanes.leave(Some(7))), NONE);
    }

    #[test]
    fn what_has_no_lane_waits_for_nothing() {
        let mut lanes = Lanes::default();
        assert_eq!(numbers(lanes.enter(shipment(None, 1))), [1]);
        assert_eq!(numbers(lanes.enter(shipment(None, 2))), [2]);
        assert_eq!(numbers(lanes.leave(None)), NONE);
    }
}
