//! Which rows the relay holds, and what it has still to tell the store about them. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::store::{Claim, OutboxOutcome};

/// The claims the relay holds. A row is in it from its claim until it is settled, or until the claim is lost.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    held: BTreeMap<i64, Claim>,
    unsettled: Vec<(Claim, OutboxOutcome)>,
    /// What the store is being told: it is not asked about these meanwhile.
    told: Vec<(Claim, OutboxOutcome)>,
}

impl Ledger {
    /// How many rows are held.
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether the claim is still held.
    pub(super) fn holds(&self, claim: Claim) -> bool {
        self.held.get(&claim.seq) == Some(&claim)
    }

    /// Every claim that is held, but those that the store is being told to end.
    pub(super) fn claims(&self) -> Vec<Claim> {
        let told: BTreeSet<i64> = self.told.iter().map(|(claim, _)| claim.seq).collect();
        self.held.values().filter(|claim| !told.contains(&claim.seq)).copied().collect()
    }

    /// Takes what the store has not been told, to tell it. Then comes [`was_told`](Self::was_told), or
    /// [`were_not_told`](Self::were_not_told).
    pub(super) fn tell(&mut self) -> Vec<(Claim, OutboxOutcome)> {
        self.level();
        self.told = std::mem::take(&mut self.unsettled);
        self.told.clone()
    }

    /// Gives what is kept one time, the last: a store then keeps it all in one go.
    pub(super) fn level(&mut self) {
        let times = |(_, outcome): &(Claim, OutboxOutcome)| match outcome {
            OutboxOutcome::Kept { at, until } => Some((*at, *until)),
            _ => None,
        };
        let Some((at, until)) = self.unsettled.iter().filter_map(times).max() else { return };
        for (_, outcome) in &mut self.unsettled {
            if matches!(outcome, OutboxOutcome::Kept { .. }) {
                *outcome = OutboxOutcome::Kept { at, until };
            }
        }
    }

    /// How many rows the store is being told of.
    pub(super) fn told(&self) -> usize {
        self.told.len()
    }

    /// The store has been told what [`tell`](Self::tell) gave.
    pub(super) fn was_told(&mut self) {
        for (claim, _) in std::mem::take(&mut self.told) {
            if self.holds(claim) {
                self.held.remove(&claim.seq);
            }
        }
    }

    /// The store could not be told that these rows were published.
    pub(super) fn were_not_told(&mut self) {
        for (claim, outcome) in std::mem::take(&mut self.told) {
            self.ended(claim, outcome);
        }
    }

    /// Notes new claims. A row that was held under another fence has run out and come back: its old claim is lost.
    pub(super) fn hold(&mut self, claims: impl IntoIterator<Item = Claim>) {
        for claim in claims {
            if self.held.insert(claim.seq, claim).is_some() {
                self.unsettled.retain(|(other, _)| other.seq != claim.seq);
            }
        }
    }

    /// Notes what became of a row. An outcome of a claim that is lost is forgotten.
    pub(super) fn ended(&mut self, claim: Claim, outcome: OutboxOutcome) {
        if self.holds(claim) {
            self.unsettled.push((claim, outcome));
        }
    }

    /// What the store has not been told.
    pub(super) fn unsettled(&self) -> &[(Claim, OutboxOutcome)] {
        &self.unsettled
    }

    /// Notes that the store has been told everything in [`unsettled`](Self::unsettled).
    pub(super) fn settled(&mut self) {
        for (claim, _) in self.unsettled.drain(..) {
            self.held.remove(&claim.seq);
        }
    }

    /// Notes that the store has been told about one claim.
    pub(super) fn settled_one(&mut self, claim: Claim) {
        self.unsettled.retain(|(other, _)| *other != claim);
        self.held.remove(&claim.seq);
    }

    /// Of the `asked` claims only `kept` are still held. Gives how many are lost.
    pub(super) fn renewed(&mut self, asked: &[Claim], kept: &[Claim]) -> usize {
        let kept: BTreeSet<_> = kept.iter().map(|claim| (claim.seq, claim.fence)).collect();
        let before = self.held.len();
        for claim in asked.iter().filter(|claim| !kept.contains(&(claim.seq, claim.fence))) {
            if self.holds(*claim) {
                self.settled_one(*claim);
            }
        }
        before - self.held.len()
    }
}

#[cfg(test)]
mod tests {
    use super::Ledger;
    use crate::store::{Claim, OutboxOutcome};

    const fn claim(seq: i64, fence: i64) -> Claim {
        Claim { seq, fence }
    }

    #[test]
    fn a_row_is_held_until_it_is_settled() {
        let mut ledger = Ledger::default();
        ledger.hold([claim(1, 1), claim(2, 1)]);
        ledger.ended(claim(1, 1), OutboxOutcome::Published);
        assert_eq!((ledger.len(), ledger.unsettled().len()), (2, 1));
        ledger.settled();
        assert_eq!((ledger.claims(), ledger.unsettled().len()), (vec![claim(2, 1)], 0));
    }

    #[test]
    fn a_lost_claim_is_forgotten_with_its_outcome() {
        let mut ledger = Ledger::default();
        ledger.hold([claim(1, 1), claim(2, 1), claim(3, 1)]);
        ledger.ended(claim(1, 1), OutboxOutcome::Published);
        assert_eq!(ledger.renewed(&[claim(1, 1), claim(2, 1)], &[claim(2, 1)]), 1);
        assert_eq!((ledger.claims(), ledger.unsettled().len()), (vec![claim(2, 1), claim(3, 1)], 0));
        ledger.ended(claim(1, 1), OutboxOutcome::Published);
        assert!(ledger.unsettled().is_empty());
    }

    #[test]
    fn a_row_that_comes_back_is_held_under_its_new_fence() {
        let mut ledger = Ledger::default();
        ledger.hold([claim(1, 1)]);
        ledger.ended(claim(1, 1), OutboxOutcome::Published);
        ledger.hold([claim(1, 2)]);
        assert!(ledger.unsettled().is_empty());
        assert!(ledger.holds(claim(1, 2)) && !ledger.holds(claim(1, 1)));
        ledger.ended(claim(1, 1), OutboxOutcome::Published);
        assert!(ledger.unsettled().is_empty());
        assert_eq!(
            ledger.renewed(&[claim(1, 1)], &[]),
            0,
            "the answer about the old claim says nothing of the new one"
        );
    }

    #[test]
    fn what_the_store_is_being_told_is_held_and_not_asked_about() {
        let mut ledger = Ledger::default();
        ledger.hold([claim(1, 1), claim(2, 1), claim(3, 1)]);
        ledger.ended(claim(1, 1), OutboxOutcome::Published);
        assert_eq!(ledger.tell(), [(claim(1, 1), OutboxOutcome::Published)]);
        ledger.ended(claim(2, 1), OutboxOutcome::Published);
        assert_eq!((ledger.len(), ledger.claims()), (3, vec![claim(2, 1), claim(3, 1)]));
        ledger.were_not_told();
        let seqs: Vec<_> = ledger.tell().iter().map(|(claim, _)| claim.seq).collect();
        assert_eq!(seqs, [2, 1], "nothing of it is forgotten");
        ledger.was_told();
        assert_eq!((ledger.claims(), ledger.unsettled().len()), (vec![claim(3, 1)], 0));
    }

    #[test]
    fn what_comes_back_while_the_store_is_told_of_it_is_held_under_its_new_fence() {
        let mut ledger = Ledger::default();
        ledger.hold([claim(1, 1)]);
        ledger.ended(claim(1, 1), OutboxOutcome::Published);
        ledger.tell();
        ledger.hold([claim(1, 2)]);
        ledger.was_told();
        assert!(ledger.holds(claim(1, 2)));
    }

    #[test]
    fn rows_can_be_settled_one_by_one() {
        let mut ledger = Ledger::default();
        ledger.hold([claim(1, 1), claim(2, 1)]);
        for seq in [1, 2] {
            ledger.ended(claim(seq, 1), OutboxOutcome::Published);
        }
        ledger.settled_one(claim(1, 1));
        assert_eq!(ledger.unsettled(), [(claim(2, 1), OutboxOutcome::Published)]);
        assert_eq!(ledger.len(), 1);
    }

    /// A store writes what is kept in one go, where it has one time.
    #[test]
    fn what_is_kept_is_told_with_one_time() {
        let at = |seconds| std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        let kept = |seconds| OutboxOutcome::Kept { at: at(seconds), until: at(seconds + 60) };
        let mut ledger = Ledger::default();
        ledger.hold([claim(1, 1), claim(2, 1), claim(3, 1)]);
        ledger.ended(claim(1, 1), kept(5));
        ledger.ended(claim(2, 1), OutboxOutcome::Published);
        ledger.ended(claim(3, 1), kept(7));
        let told = [(claim(1, 1), kept(7)), (claim(2, 1), OutboxOutcome::Published), (claim(3, 1), kept(7))];
        assert_eq!(ledger.tell(), told);
    }
}
