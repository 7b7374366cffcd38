//! What a process keeps in mind of an outbox whose claims are not written down: what it may give out, what is under way, and how far it
//! has read. Pure.
//!
//! A process leases shards in the database ([`shards`](super::shards); on SQLite there is one, of all rows). What of them it has given
//! out only it knows: so a claim writes nothing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::Claim;
use crate::lane::Lane;

/// So many owners of a shard have to be lost in a row, with nothing settled in between, before its rows are given out one at a time.
pub(super) const SUSPICIOUS: i32 = 3;

/// A shard that is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) fence: i64,
    /// How many owners before were lost.
    pub(super) lost: i32,
    /// Whether nothing more of it is given out, since it is to be given up.
    pub(super) leaving: bool,
}

/// A row that has been given out.
#[derive(Debug, Clone)]
pub(super) struct Flight {
    pub(super) fence: i64,
    pub(super) shard: i16,
    lane: Option<Lane>,
    owner: Arc<str>,
    lease_until: i64,
    /// Whether the row itself was counted, since it may be what ends its processes.
    pub(super) counted: bool,
}

/// What has been given out: the claim, and the shard of its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Out {
    pub(super) claim: Claim,
    pub(super) shard: i16,
}

impl Out {
    /// The shards of these rows.
    #[cfg(any(feature = "mysql", feature = "postgres"))]
    pub(super) fn shards(out: &[Self]) -> Vec<i16> {
        let mut shards: Vec<i16> = out.iter().map(|out| out.shard).collect();
        shards.sort_unstable();
        shards.dedup();
        shards
    }
}

/// What is under way of a lane.
#[derive(Debug)]
struct Under {
    /// Who was given it, and is given more of it: the order within a lane is the owner's to keep.
    owner: Arc<str>,
    rows: usize,
    /// The first row that was passed by because of it.
    passed: Option<i64>,
}

impl Under {
    /// No lane is under way with more rows than are asked for at once: a key whose messages the broker does not confirm must not use
    /// up all that its owner can hold.
    fn takes_more(&self, asked: &Asked) -> bool {
        self.owner == asked.owner && self.passed.is_none() && self.rows < asked.limit
    }
}

/// Who asks for rows.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) owner: Arc<str>,
    pub(super) limit: usize,
    pub(super) lease_until: i64,
}

/// What became of a row that was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offer {
    /// It is given out.
    Given(Claim),
    /// Not now: it is under way, or something before it is.
    Passed,
}

/// What a process keeps in mind: the shards it holds, the rows it has given out, and how far it has read.
#[derive(Debug, Default)]
pub(super) struct Desk {
    held: BTreeMap<i16, Held>,
    flights: HashMap<i64, Flight>,
    lanes: HashMap<Lane, Under>,
    /// How many rows of each shard are under way.
    busy: HashMap<i16, usize>,
    cursor: i64,
    reading: Option<Reading>,
}

/// What happens while somebody reads, who may see rows as they were before.
#[derive(Debug)]
struct Reading {
    /// From behind which row everything has to be read again.
    again: i64,
    /// Rows that were settled.
    settled: HashSet<i64>,
    /// Lanes of which something has ended and is there. Whether it waits now, and holds back what is behind it, the next one sees.
    lanes: HashSet<Lane>,
    /// Shards of which the one row has ended that was out: what was passed by for it comes first.
    shards: HashSet<i16>,
}

impl Desk {
    /// The shards that rows may be given out of.
    #[cfg(any(test, feature = "mysql", feature = "postgres"))]
    pub(super) fn open(&self) -> Vec<i16> {
        self.held.iter().filter(|(_, held)| !held.leaving).map(|(shard, _)| *shard).collect()
    }

    /// Every shard that is held, with its fence.
    #[cfg(any(feature = "mysql", feature = "postgres"))]
    pub(super) fn shards(&self) -> Vec<(i16, i64)> {
        self.held.iter().map(|(shard, held)| (*shard, held.fence)).collect()
    }

    pub(super) fn held(&self, shard: i16) -> Option<Held> {
        self.held.get(&shard).copied()
    }

    /// Behind which row nothing has been read yet.
    #[cfg(feature = "sqlite")]
    pub(super) fn cursor(&self) -> i64 {
        self.cursor
    }

    /// How many rows are under way.
    pub(super) fn len(&self) -> usize {
        self.flights.len()
    }

    /// The rows that are under way.
    pub(super) fn numbers(&self) -> Vec<i64> {
        self.flights.keys().copied().collect()
    }

    /// Whether anything of a lane is under way.
    pub(super) fn is_under_way(&self, lane: Lane) -> bool {
        self.lanes.contains_key(&lane)
    }

    /// The lanes of which something is under way.
    #[cfg(feature = "mysql")]
    pub(super) fn lanes(&self) -> HashSet<Lane> {
        self.lanes.keys().copied().collect()
    }

    /// Whether nothing of a shard is under way.
    pub(super) fn is_idle(&self, shard: i16) -> bool {
        self.busy.get(&shard).is_none_or(|count| *count == 0)
    }

    /// A shard was taken: its rows may be anywhere.
    pub(super) fn took(&mut self, shard: i16, fence: i64, lost: i32) {
        self.drop_flights(|flight| flight.shard == shard);
        self.held.insert(shard, Held { fence, lost, leaving: false });
        self.cursor = 0;
    }

    /// A shard has a new fence, for claims from here on; what is under way keeps its own.
    pub(super) fn refence(&mut self, shard: i16, fence: i64) {
        if let Some(held) = self.held.get_mut(&shard) {
            held.fence = fence;
        }
    }

    /// A shard is somebody else's, or nobody's.
    pub(super) fn lost(&mut self, shard: i16) {
        if self.held.remove(&shard).is_some() {
            self.drop_flights(|flight| flight.shard == shard);
        }
    }

    /// Which shards are to be given up. Gives those of which nothing is under way: they can be given up now.
    #[cfg(any(test, feature = "mysql", feature = "postgres"))]
    pub(super) fn leave(&mut self, shards: &[i16]) -> Vec<i16> {
        for (shard, held) in &mut self.held {
            let leaving = shards.contains(shard);
            if held.leaving && !leaving {
                // What of it was passed by meanwhile has to be read again.
                self.cursor = 0;
            }
            held.leaving = leaving;
        }
        self.held
            .iter()
            .filter(|(shard, held)| held.leaving && self.is_idle(**shard))
            .map(|(shard, _)| *shard)
            .collect()
    }

    /// Begins to read: from behind this row on.
    pub(super) fn begin_read(&mut self) -> i64 {
        self.reading =
            Some(Reading { again: i64::MAX, settled: HashSet::new(), lanes: HashSet::new(), shards: HashSet::new() });
        self.cursor
    }

    /// Ends a read: everything up to this row was offered.
    pub(super) fn read_to(&mut self, cursor: i64) {
        self.cursor = self.reading.as_ref().map_or(cursor, |reading| cursor.min(reading.again));
    }

    /// Whether a row was settled since this read began, which may still see it. What is behind it may be offered: where it is still there,
    /// that is passed by.
    #[cfg(feature = "mysql")]
    pub(super) fn was_settled(&self, seq: i64) -> bool {
        self.reading.as_ref().is_some_and(|reading| reading.settled.contains(&seq))
    }

    /// Nobody reads any more.
    pub(super) fn end_read(&mut self) {
        self.reading = None;
    }

    /// A row has to be looked at again, and what is behind it.
    pub(super) fn look_back(&mut self, seq: i64) {
        let before = seq.saturating_sub(1);
        self.cursor = self.cursor.min(before);
        if let Some(reading) = &mut self.reading {
            reading.again = reading.again.min(before);
        }
    }

    /// Reads everything once more.
    pub(super) fn start_over(&mut self) {
        self.cursor = 0;
    }

    /// Gives out a row that was read, unless something stands before it.
    pub(super) fn offer(&mut self, seq: i64, shard: i16, lane: Option<Lane>, asked: &Asked) -> Offer {
        let Some(held) = self.free(seq, shard, lane, asked) else { return Offer::Passed };
        // Without a key a row has no lane, but for one that is alone in its shard: what waits for it has to find it.
        let is_suspicious = held.lost >= SUSPICIOUS;
        let lane = lane.or(is_suspicious.then(|| seq_lane(shard)));
        if let Some(lane) = lane {
            let under =
                self.lanes.entry(lane).or_insert(Under { owner: Arc::clone(&asked.owner), rows: 0, passed: None });
            under.rows += 1;
        }
        *self.busy.entry(shard).or_default() += 1;
        let (owner, lease_until) = (Arc::clone(&asked.owner), asked.lease_until);
        let flight = Flight { fence: held.fence, shard, lane, owner, lease_until, counted: is_suspicious };
        self.flights.insert(seq, flight);
        Offer::Given(Claim { seq, fence: held.fence })
    }

    /// Whether a row would be given out if it were offered. Otherwise it is passed by, as an offer would.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    pub(super) fn would_give(&mut self, seq: i64, shard: i16, lane: Option<Lane>, asked: &Asked) -> bool {
        self.free(seq, shard, lane, asked).is_some()
    }

    /// The shard of a row that may be given out. What stands before another one leads back to it when it ends.
    fn free(&mut self, seq: i64, shard: i16, lane: Option<Lane>, asked: &Asked) -> Option<Held> {
        let gone = self.reading.as_ref().is_some_and(|reading| reading.settled.contains(&seq));
        let held = self.held(shard).filter(|held| !held.leaving && !gone)?;
        if self.flights.contains_key(&seq) {
            return None;
        }
        if held.lost >= SUSPICIOUS && !self.is_idle(shard) {
            // One at a time: the one that is under way leads back here when it ends.
            if let Some(flight) = self.flights.values().find(|flight| flight.shard == shard) {
                let lane = flight.lane.unwrap_or(seq_lane(shard));
                self.pass(lane, seq);
            }
            return None;
        }
        if let Some(lane) = lane
            && self.lanes.get(&lane).is_some_and(|under| !under.takes_more(asked))
        {
            self.pass(lane, seq);
            return None;
        }
        let has_ended = |reading: &Reading| {
            reading.shards.contains(&shard) || lane.is_some_and(|lane| reading.lanes.contains(&lane))
        };
        if self.reading.as_ref().is_some_and(has_ended) {
            self.look_back(seq);
            return None;
        }
        Some(held)
    }

    /// Whether the end of a lane that is under way leads back to a row of it.
    #[cfg(feature = "mysql")]
    pub(super) fn leads_back(&self, lane: Lane, seq: i64) -> bool {
        self.lanes.get(&lane).and_then(|under| under.passed).is_some_and(|passed| passed <= seq)
    }

    /// Passes a row by, if something of its lane is under way, which leads back to it when it ends. Whether it does.
    #[cfg(feature = "mysql")]
    pub(super) fn pass_by(&mut self, seq: i64, lane: Lane) -> bool {
        let is_held = self.is_under_way(lane);
        if !self.flights.contains_key(&seq) {
            self.pass(lane, seq);
        }
        is_held
    }

    fn pass(&mut self, lane: Lane, seq: i64) {
        if let Some(under) = self.lanes.get_mut(&lane) {
            under.passed = Some(under.passed.map_or(seq, |passed| passed.min(seq)));
        }
    }

    /// The row that a claim is of, if the claim still holds.
    pub(super) fn flight(&self, claim: Claim) -> Option<&Flight> {
        self.flights.get(&claim.seq).filter(|flight| flight.fence == claim.fence)
    }

    /// A row has been published, and is gone.
    pub(super) fn published(&mut self, claim: Claim) {
        self.end(claim, false);
    }

    /// A row has been settled otherwise: it waits, or is dead.
    pub(super) fn ended(&mut self, claim: Claim) {
        self.end(claim, true);
    }

    fn end(&mut self, claim: Claim, is_there: bool) {
        if self.flight(claim).is_some() {
            self.remove(claim.seq, is_there);
            if let Some(reading) = &mut self.reading {
                reading.settled.insert(claim.seq);
            }
        }
    }

    /// A row was handed back: it is to be given out again.
    pub(super) fn back(&mut self, claim: Claim) {
        if self.flight(claim).is_some() {
            self.remove(claim.seq, true);
            self.look_back(claim.seq);
        }
    }

    /// Something of a shard was settled: it ends no process.
    pub(super) fn trust(&mut self, shard: i16) {
        if let Some(held) = self.held.get_mut(&shard) {
            held.lost = 0;
        }
    }

    /// Claims now hold until then.
    pub(super) fn renew(&mut self, claim: Claim, lease_until: i64) {
        if let Some(flight) = self.flights.get_mut(&claim.seq).filter(|flight| flight.fence == claim.fence) {
            flight.lease_until = flight.lease_until.max(lease_until);
        }
    }

    /// What was given out to somebody of this process who has not been heard of in time. It is to be taken back: once the shards
    /// have new fences, and not before.
    pub(super) fn expired(&self, now: i64) -> Vec<Out> {
        self.out(|flight| flight.lease_until <= now)
    }

    /// What was given out to an owner.
    pub(super) fn of_owner(&self, owner: &str) -> Vec<Out> {
        self.out(|flight| &*flight.owner == owner)
    }

    fn out(&self, which: impl Fn(&Flight) -> bool) -> Vec<Out> {
        let flights = self.flights.iter().filter(|(_, flight)| which(flight));
        flights
            .map(|(seq, flight)| Out { claim: Claim { seq: *seq, fence: flight.fence }, shard: flight.shard })
            .collect()
    }

    /// Takes back what was given out: claims of before do not hold any more.
    pub(super) fn take_back(&mut self, out: &[Out]) {
        for out in out {
            self.back(out.claim);
        }
    }

    fn drop_flights(&mut self, which: impl Fn(&Flight) -> bool) {
        let gone = self.out(which);
        self.take_back(&gone);
    }

    /// Forgets a row that was given out, which may be there still.
    fn remove(&mut self, seq: i64, is_there: bool) {
        let Some(flight) = self.flights.remove(&seq) else { return };
        if let Some(count) = self.busy.get_mut(&flight.shard) {
            *count = count.saturating_sub(1);
        }
        let Some(lane) = flight.lane else { return };
        if let Some(reading) = &mut self.reading {
            if is_there {
                reading.lanes.insert(lane);
            }
            if flight.counted {
                reading.shards.insert(flight.shard);
            }
        }
        let Some(under) = self.lanes.get_mut(&lane) else { return };
        under.rows -= 1;
        if under.rows == 0
            && let Some(passed) = self.lanes.remove(&lane).and_then(|under| under.passed)
        {
            // Who reads just now may be beyond it: nothing of the lane that he sees comes first.
            if let Some(reading) = &mut self.reading {
                reading.lanes.insert(lane);
            }
            self.look_back(passed);
        }
    }
}

/// The lane of the one row of a shard that is given out alone, where it has none of its own.
fn seq_lane(shard: i16) -> Lane {
    Lane::MAX - Lane::from(shard.unsigned_abs())
}

#[cfg(test)]
pub(super) mod tests;
