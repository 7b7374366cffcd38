//! Rows in the order of storing, in lanes, claimed and given back.
//!
//! Only the first row of a lane is listed among those that may be taken, so that no claim looks at what stands behind it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::time::SystemTime;

use crate::store::Claim;

/// What keeps order: the topic and key of an event, the lane of stored work.
pub(super) type Lane = (String, String);

/// What became of a row so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// It may be taken.
    Ready,
    /// It may be taken when it is due.
    Waiting,
    /// Somebody is busy with it.
    Claimed,
    /// It is a dead letter.
    Dead,
}

/// A row.
#[derive(Debug)]
pub(super) struct Row<Q, R> {
    pub(super) record: R,
    pub(super) queue: Q,
    pub(super) lane: Option<Lane>,
    pub(super) stage: Stage,
    pub(super) due: SystemTime,
    pub(super) attempts: u32,
    pub(super) error: Option<String>,
    /// Since when programs that cannot do it have put it off.
    pub(super) deferred_since: Option<SystemTime>,
    /// Whether a transaction that has not ended takes it out: until then nobody else touches it.
    pub(super) taken: bool,
    pub(super) fence: i64,
    pub(super) owner: String,
    pub(super) lease_until: SystemTime,
}

impl<Q, R> Row<Q, R> {
    /// A row that waits, in no lane, and was not attempted.
    pub(super) fn new(record: R, queue: Q, due: SystemTime) -> Self {
        Self {
            record,
            queue,
            lane: None,
            stage: Stage::Waiting,
            due,
            attempts: 0,
            error: None,
            deferred_since: None,
            taken: false,
            fence: 0,
            owner: String::new(),
            lease_until: SystemTime::UNIX_EPOCH,
        }
    }

    /// Whether it is neither being done nor dead.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.stage, Stage::Ready | Stage::Waiting)
    }

    /// Whether its claim has run out.
    pub(super) fn is_lost(&self, lease_now: SystemTime) -> bool {
        self.stage == Stage::Claimed && !self.taken && self.lease_until <= lease_now
    }

    fn is_free(&self, now: SystemTime) -> bool {
        !self.taken && (self.stage == Stage::Ready || (self.stage == Stage::Waiting && self.due <= now))
    }

    /// Counts an attempt that failed.
    pub(super) fn fail(&mut self, error: impl Into<String>) {
        self.attempts += 1;
        self.error = Some(error.into());
    }
}

/// Who claims, and until when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taker<'a> {
    pub(super) owner: &'a str,
    pub(super) lease_until: SystemTime,
}

/// Rows of one kind.
#[derive(Debug)]
pub(super) struct Table<Q, R> {
    last: i64,
    rows: BTreeMap<i64, Row<Q, R>>,
    lanes: HashMap<Lane, BTreeSet<i64>>,
    /// What may be taken, by queue.
    ready: HashMap<Q, BTreeSet<i64>>,
    /// What may be taken later, by queue and when.
    waiting: HashMap<Q, BTreeSet<(SystemTime, i64)>>,
    claimed: BTreeSet<i64>,
    dead: BTreeSet<i64>,
}

impl<Q: Clone + Eq + Hash, R> Default for Table<Q, R> {
    fn default() -> Self {
        Self {
            last: 0,
            rows: BTreeMap::new(),
            lanes: HashMap::new(),
            ready: HashMap::new(),
            waiting: HashMap::new(),
            claimed: BTreeSet::new(),
            dead: BTreeSet::new(),
        }
    }
}

impl<Q: Clone + Eq + Hash, R> Table<Q, R> {
    /// Stores a row behind all others. Gives its number, which never comes back.
    pub(super) fn insert(&mut self, row: Row<Q, R>) -> i64 {
        self.last += 1;
        let seq = self.last;
        if let Some(lane) = &row.lane {
            self.lanes.entry(lane.clone()).or_default().insert(seq);
        }
        self.rows.insert(seq, row);
        self.list(seq);
        seq
    }

    pub(super) fn get(&self, seq: i64) -> Option<&Row<Q, R>> {
        self.rows.get(&seq)
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = (i64, &Row<Q, R>)> {
        self.rows.iter().map(|(seq, row)| (*seq, row))
    }

    /// How many are not dead.
    pub(super) fn living(&self) -> usize {
        self.rows.len() - self.dead.len()
    }

    pub(super) fn claimed(&self) -> &BTreeSet<i64> {
        &self.claimed
    }

    pub(super) fn dead(&self) -> &BTreeSet<i64> {
        &self.dead
    }

    /// What stands in a lane, oldest first.
    pub(super) fn in_lane(&self, lane: &Lane) -> impl Iterator<Item = i64> {
        self.lanes.get(lane).into_iter().flatten().copied()
    }

    /// The row of a claim that still holds.
    pub(super) fn held(&self, claim: Claim) -> Option<&Row<Q, R>> {
        self.get(claim.seq).filter(|row| row.stage == Stage::Claimed && row.fence == claim.fence)
    }

    /// Changes a row where it stands.
    pub(super) fn change(&mut self, seq: i64, change: impl FnOnce(&mut Row<Q, R>)) {
        self.unlist(seq);
        if let Some(row) = self.rows.get_mut(&seq) {
            change(row);
        }
        self.list(seq);
    }

    /// Takes a row out.
    pub(super) fn remove(&mut self, seq: i64) -> Option<R> {
        self.leave_lane(seq);
        self.unlist(seq);
        self.rows.remove(&seq).map(|row| row.record)
    }

    /// Takes a row out of its lane, which goes on with the next one.
    pub(super) fn leave_lane(&mut self, seq: i64) {
        self.unlist(seq);
        let Some(lane) = self.rows.get_mut(&seq).and_then(|row| row.lane.take()) else { return self.list(seq) };
        let mut next = None;
        if let Some(left) = self.lanes.get_mut(&lane) {
            left.remove(&seq);
            next = left.first().copied();
        }
        match next {
            Some(next) => self.list(next),
            None => drop(self.lanes.remove(&lane)),
        }
        self.list(seq);
    }

    /// Whether a claim of these queues would find something.
    pub(super) fn has_work(&self, queues: &[&Q], now: SystemTime, lease_now: SystemTime) -> bool {
        let is_due = |queue: &&Q| {
            self.ready.get(*queue).is_some_and(|ready| !ready.is_empty())
                || self.waiting.get(*queue).and_then(BTreeSet::first).is_some_and(|(due, _)| *due <= now)
        };
        queues.iter().any(is_due) || self.lost(queues, lease_now).next().is_some()
    }

    /// Claims of these queues that have run out.
    pub(super) fn lost(&self, queues: &[&Q], lease_now: SystemTime) -> impl Iterator<Item = i64> {
        let claimed = self.claimed.iter().filter_map(|seq| self.rows.get_key_value(seq));
        claimed.filter(move |(_, row)| row.is_lost(lease_now) && queues.contains(&&row.queue)).map(|(seq, _)| *seq)
    }

    /// Makes ready what was lost: that counts as an attempt.
    pub(super) fn take_back(&mut self, queues: &[&Q], lease_now: SystemTime) {
        for seq in self.lost(queues, lease_now).collect::<Vec<_>>() {
            self.change(seq, |row| {
                row.fail(LOST);
                row.stage = Stage::Ready;
            });
        }
    }

    /// Makes ready what has waited until now.
    pub(super) fn wake(&mut self, queues: &[&Q], now: SystemTime) {
        for queue in queues {
            while let Some((due, seq)) = self.waiting.get(*queue).and_then(BTreeSet::first).copied()
                && due <= now
            {
                self.change(seq, |row| row.stage = Stage::Ready);
            }
        }
    }

    /// What has waited until now, the most overdue first.
    pub(super) fn overdue(&self, queue: &Q, now: SystemTime) -> impl Iterator<Item = i64> {
        let waiting = self.waiting.get(queue).into_iter().flatten();
        waiting.take_while(move |(due, _)| *due <= now).map(|(_, seq)| *seq)
    }

    /// The oldest rows of a queue that may be taken.
    pub(super) fn ready(&self, queue: &Q) -> impl Iterator<Item = i64> {
        self.ready.get(queue).into_iter().flatten().copied()
    }

    /// What stands right behind a row in its lane, where that may be taken together with it.
    pub(super) fn free_behind(&self, seq: i64, now: SystemTime) -> Option<i64> {
        let lane = self.lanes.get(self.rows.get(&seq)?.lane.as_ref()?)?;
        let next = lane.range(seq + 1..).next()?;
        self.rows.get(next).filter(|row| row.is_free(now)).map(|_| *next)
    }

    /// Claims a row.
    pub(super) fn claim(&mut self, seq: i64, taker: Taker<'_>) -> Option<(Claim, &Row<Q, R>)> {
        self.change(seq, |row| {
            row.stage = Stage::Claimed;
            row.fence += 1;
            taker.owner.clone_into(&mut row.owner);
            row.lease_until = taker.lease_until;
        });
        let row = self.rows.get(&seq)?;
        Some((Claim { seq, fence: row.fence }, row))
    }

    /// Renews claims. Gives those that are held.
    pub(super) fn renew(&mut self, claims: Vec<Claim>, lease_until: SystemTime) -> Vec<Claim> {
        let held: Vec<Claim> = claims.into_iter().filter(|claim| self.held(*claim).is_some()).collect();
        for claim in &held {
            if let Some(row) = self.rows.get_mut(&claim.seq) {
                row.lease_until = lease_until;
            }
        }
        held
    }

    /// What an owner holds.
    pub(super) fn of_owner(&self, owner: &str) -> Vec<i64> {
        let is_owners = |seq: &i64| self.rows.get(seq).is_some_and(|row| row.owner == owner);
        self.claimed.iter().copied().filter(is_owners).collect()
    }

    /// When the next row of these queues may be taken.
    pub(super) fn next_due(&self, queues: &[&Q]) -> Option<SystemTime> {
        let next = |queue: &&Q| {
            let ready = self.ready(queue).next().and_then(|seq| self.rows.get(&seq)).map(|row| row.due);
            let waiting = self.waiting.get(*queue).and_then(BTreeSet::first).map(|(due, _)| *due);
            ready.into_iter().chain(waiting).min()
        };
        queues.iter().filter_map(next).min()
    }

    fn is_first(&self, seq: i64, row: &Row<Q, R>) -> bool {
        let Some(lane) = row.lane.as_ref().and_then(|lane| self.lanes.get(lane)) else { return true };
        lane.first().is_none_or(|first| *first == seq)
    }

    /// Lists a row where it is looked for.
    fn list(&mut self, seq: i64) {
        let Some(row) = self.rows.get(&seq) else { return };
        match row.stage {
            Stage::Claimed => drop(self.claimed.insert(seq)),
            Stage::Dead => drop(self.dead.insert(seq)),
            _ if row.taken || !self.is_first(seq, row) => {}
            Stage::Ready => drop(self.ready.entry(row.queue.clone()).or_default().insert(seq)),
            Stage::Waiting => drop(self.waiting.entry(row.queue.clone()).or_default().insert((row.due, seq))),
        }
    }

    fn unlist(&mut self, seq: i64) {
        let Some(row) = self.rows.get(&seq) else { return };
        self.claimed.remove(&seq);
        self.dead.remove(&seq);
        if let Some(ready) = self.ready.get_mut(&row.queue) {
            ready.remove(&seq);
        }
        if let Some(waiting) = self.waiting.get_mut(&row.queue) {
            waiting.remove(&(row.due, seq));
        }
    }
}

/// What is noted on a row whose claim ran out.
const LOST: &str = "whoever held it stalled for longer than its lease";
