//! What the memory store holds, and every change of it.

use std::collections::{BTreeSet, HashMap};
use std::time::SystemTime;

use uuid::Uuid;

use super::keys::{Key, Keys, Name, name_of};
use super::operations::Audit;
use super::sagas::SagaTable;
use super::table::{Lane, Row, Stage, Table, Taker};
use crate::store::driver::{ClaimRequest, IdempotentRequest, WorkShare};
use crate::store::{
    AwaitedEvent, Claim, ClaimedOutbox, ClaimedWork, Counts, DeadLetter, DeadLetterId, DeadSource, IdempotentClaim,
    IdempotentOutcome, InboxMark, OutboxOutcome, OutboxRecord, SagaChange, Standing, TimerRecord, WorkKind, WorkQueue,
    WorkRecord,
};

/// Somebody's transaction has what is asked for, and has not ended: ask again when it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Locked;

/// A mark without its time.
pub(super) type Marked = (String, String, Uuid);

pub(super) fn marked(mark: &InboxMark) -> Marked {
    (mark.group.clone(), mark.handler.clone(), mark.event_id)
}

/// What a transaction does, in the order in which it does it.
#[derive(Debug)]
pub(super) enum Change {
    Event(OutboxRecord),
    Work(WorkRecord),
    /// Takes work out: it is done, or a timer that has moved.
    Remove(i64),
    Mark(InboxMark),
    ClaimKey(IdempotentRequest),
    FinishKey {
        claim: IdempotentClaim,
        response: Vec<u8>,
        at: SystemTime,
    },
    Saga(SagaChange),
    Awaited {
        event: AwaitedEvent,
        at: SystemTime,
    },
}

impl Change {
    /// The idempotency key it is about.
    fn key(&self) -> Option<Name> {
        match self {
            Self::ClaimKey(request) => Some(name_of(&request.claim)),
            Self::FinishKey { claim, .. } => Some(name_of(claim)),
            _ => None,
        }
    }
}

/// Everything that is committed, and what the transaction under way has taken for itself.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) outbox: Table<(), OutboxRecord>,
    pub(super) work: Table<WorkQueue, WorkRecord>,
    /// Timers by name and key, those that are being done or dead among them.
    timers: HashMap<Name, BTreeSet<i64>>,
    inbox: HashMap<Marked, SystemTime>,
    /// Until when published events are kept. Nobody can read them here: they are counted, and go.
    published: Vec<SystemTime>,
    keys: Keys,
    /// How many changes of the transaction are about a key.
    taken_keys: HashMap<Name, usize>,
    pub(super) audit: Audit,
    pub(super) sagas: SagaTable,
}

/// The lane of stored work.
fn lane_of_work(lane: &str) -> Lane {
    (String::new(), lane.to_owned())
}

/// The name and key of a timer that is told apart by them.
pub(super) fn timer_of(record: &WorkRecord) -> Option<Name> {
    let has_key = record.kind == WorkKind::Timer && !record.dead;
    Some((record.name.clone(), record.timer_key.clone().filter(|_| has_key)?))
}

/// The outbox.
impl State {
    pub(super) fn claim_outbox(&mut self, request: &ClaimRequest<'_>) -> Vec<ClaimedOutbox> {
        self.outbox.take_back(&[&()], request.lease_now);
        self.outbox.wake(&[&()], request.now);
        let taker = Taker { owner: request.owner, lease_until: request.lease_until };
        let (mut claimed, mut behind) = (Vec::new(), BTreeSet::new());
        while claimed.len() < request.limit {
            let next = self.outbox.ready(&()).next().into_iter().chain(behind.first().copied()).min();
            let Some(seq) = next else { break };
            behind.remove(&seq);
            if let Some((claim, row)) = self.outbox.claim(seq, taker) {
                claimed.push(ClaimedOutbox { claim, attempts: row.attempts, record: row.record.clone() });
            }
            behind.extend(self.outbox.free_behind(seq, request.now));
        }
        claimed
    }

    pub(super) fn settle_outbox(&mut self, outcomes: Vec<(Claim, OutboxOutcome)>) -> u64 {
        let mut settled = 0;
        for (claim, outcome) in outcomes {
            if self.outbox.held(claim).is_some() {
                self.settle(claim.seq, outcome);
                settled += 1;
            }
        }
        settled
    }

    fn settle(&mut self, seq: i64, outcome: OutboxOutcome) {
        match outcome {
            OutboxOutcome::Published => drop(self.outbox.remove(seq)),
            OutboxOutcome::Kept { until, .. } => {
                drop(self.outbox.remove(seq));
                self.published.push(until);
            }
            OutboxOutcome::HandBack => self.outbox.change(seq, |row| row.stage = Stage::Ready),
            OutboxOutcome::Dead { error } => self.outbox.change(seq, |row| {
                row.fail(error);
                row.stage = Stage::Dead;
            }),
            OutboxOutcome::Retry { due, error } => self.outbox.change(seq, |row| {
                row.fail(error);
                (row.stage, row.due) = (Stage::Waiting, due);
            }),
        }
    }

    pub(super) fn renew_outbox(&mut self, claims: Vec<Claim>, lease_until: SystemTime) -> Vec<Claim> {
        self.outbox.renew(claims, lease_until)
    }

    pub(super) fn next_outbox_due(&self) -> Option<SystemTime> {
        self.outbox.next_due(&[&()])
    }
}

/// Stored work.
impl State {
    pub(super) fn claim_work(&mut self, shares: &[WorkShare<'_>], request: &ClaimRequest<'_>) -> Vec<ClaimedWork> {
        let queues: Vec<&WorkQueue> = shares.iter().flat_map(|share| share.queues).collect();
        if request.limit == 0 || !self.work.has_work(&queues, request.now, request.lease_now) {
            return Vec::new();
        }
        self.work.take_back(&queues, request.lease_now);
        let woken: Vec<&WorkQueue> = queues.iter().copied().filter(|queue| queue.kind != WorkKind::Timer).collect();
        self.work.wake(&woken, request.now);
        let mut limits: Vec<usize> = shares.iter().map(|share| (share.limit)()).collect();
        let mut found = BTreeSet::new();
        for (at, share) in shares.iter().enumerate() {
            for queue in share.queues {
                let overdue = self.work.overdue(queue, request.now);
                let first = self.work.ready(queue).chain(overdue).take(limits[at].min(request.limit));
                found.extend(first.map(|seq| (self.waited_until(seq), seq, at)));
            }
        }
        let (taker, mut claimed) = (Taker { owner: request.owner, lease_until: request.lease_until }, Vec::new());
        for (_, seq, share) in found {
            if claimed.len() == request.limit {
                break;
            }
            if limits[share] > 0 {
                limits[share] -= 1;
                claimed.extend(self.take_work(seq, taker));
            }
        }
        claimed
    }

    fn waited_until(&self, seq: i64) -> Option<SystemTime> {
        let row =
            self.work.get(seq).filter(|row| row.record.kind == WorkKind::Timer && row.due > row.record.created_at)?;
        Some(row.due)
    }

    fn take_work(&mut self, seq: i64, taker: Taker<'_>) -> Option<ClaimedWork> {
        let (claim, row) = self.work.claim(seq, taker)?;
        let (attempts, due_at, error) = (row.attempts, row.due, row.error.clone());
        let record = WorkRecord { due_at, attempts, error, ..row.record.clone() };
        Some(ClaimedWork { claim, record, deferred_since: row.deferred_since })
    }

    pub(super) fn renew_work(&mut self, claims: Vec<Claim>, lease_until: SystemTime) -> Result<Vec<Claim>, Locked> {
        if claims.iter().any(|claim| self.work.held(*claim).is_some_and(|row| row.taken)) {
            return Err(Locked);
        }
        Ok(self.work.renew(claims, lease_until))
    }

    /// Ends a claim by a change. Whether it held.
    fn end_work(&mut self, claim: Claim, change: impl FnOnce(&mut Row<WorkQueue, WorkRecord>)) -> Result<bool, Locked> {
        match self.work.held(claim) {
            None => Ok(false),
            Some(row) if row.taken => Err(Locked),
            Some(_) => {
                self.work.change(claim.seq, change);
                Ok(true)
            }
        }
    }

    pub(super) fn retry_work(&mut self, claim: Claim, due: SystemTime, error: &str) -> Result<bool, Locked> {
        self.end_work(claim, |row| {
            row.fail(error);
            (row.stage, row.due, row.deferred_since) = (Stage::Waiting, due, None);
        })
    }

    pub(super) fn defer_work(
        &mut self,
        claim: Claim,
        now: SystemTime,
        due: SystemTime,
        error: &str,
    ) -> Result<bool, Locked> {
        self.end_work(claim, |row| {
            row.error = Some(error.to_owned());
            row.deferred_since.get_or_insert(now);
            (row.stage, row.due) = (Stage::Waiting, due);
        })
    }

    pub(super) fn bury_work(&mut self, claim: Claim, error: &str, skip_lane: bool) -> Result<bool, Locked> {
        let buried = self.end_work(claim, |row| {
            row.fail(error);
            row.stage = Stage::Dead;
        })?;
        if buried && skip_lane {
            self.work.leave_lane(claim.seq);
        }
        Ok(buried)
    }

    pub(super) fn next_work_due(&self, queues: &[WorkQueue]) -> Option<SystemTime> {
        self.work.next_due(&queues.iter().collect::<Vec<_>>())
    }

    pub(super) fn work_by_queue(&self, lease_now: SystemTime) -> Vec<(WorkQueue, u64)> {
        let mut counted = HashMap::new();
        for (_, row) in self.work.rows().filter(|(_, row)| row.is_idle() || row.is_lost(lease_now)) {
            *counted.entry(row.queue.clone()).or_default() += 1;
        }
        counted.into_iter().collect()
    }

    /// Whether a lane has work, other than what the transaction takes out.
    pub(super) fn lane_is_held(&self, lane: &str) -> bool {
        self.work.in_lane(&lane_of_work(lane)).any(|seq| self.work.get(seq).is_some_and(|row| !row.taken))
    }
}

/// Both together, dead letters, timers, the inbox.
impl State {
    pub(super) fn release(&mut self, owner: &str) -> Result<(), Locked> {
        let (events, pieces) = (self.outbox.of_owner(owner), self.work.of_owner(owner));
        if pieces.iter().any(|seq| self.work.get(*seq).is_some_and(|row| row.taken)) {
            return Err(Locked);
        }
        for seq in events {
            self.outbox.change(seq, |row| row.stage = Stage::Ready);
        }
        for seq in pieces {
            self.work.change(seq, |row| row.stage = Stage::Ready);
        }
        Ok(())
    }

    pub(super) fn counts(&self) -> Counts {
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let is_timer = |row: &Row<_, WorkRecord>| row.stage != Stage::Dead && row.record.kind == WorkKind::Timer;
        Counts {
            outbox: count(self.outbox.living()),
            work: count(self.work.living()),
            timers: count(self.work.rows().filter(|(_, row)| is_timer(row)).count()),
            inbox: count(self.inbox.len()),
            dead: count(self.outbox.dead().len() + self.work.dead().len()),
            claimed: count(self.outbox.claimed().len() + self.work.claimed().len()),
        }
    }

    pub(super) fn dead_letters(&self, limit: usize) -> Vec<DeadLetter> {
        let events = self.outbox.dead().iter().filter_map(|seq| Some(dead_event(*seq, self.outbox.get(*seq)?)));
        let pieces = self.work.dead().iter().filter_map(|seq| Some(dead_work(*seq, self.work.get(*seq)?)));
        let mut letters: Vec<DeadLetter> = events.chain(pieces).collect();
        letters.sort_by_key(|letter| letter.created_at);
        letters.truncate(limit);
        letters
    }

    pub(super) fn is_dead(&self, id: DeadLetterId) -> bool {
        match id.source {
            DeadSource::Outbox => self.outbox.dead().contains(&id.seq),
            DeadSource::Work => self.work.dead().contains(&id.seq),
        }
    }

    pub(super) fn replay(&mut self, id: DeadLetterId, now: SystemTime) -> bool {
        fn again<Q, R>(row: &mut Row<Q, R>, now: SystemTime) {
            (row.stage, row.due, row.attempts) = (Stage::Ready, now, 0);
            (row.error, row.deferred_since) = (None, None);
        }
        let is_dead = self.is_dead(id);
        match id.source {
            DeadSource::Outbox if is_dead => self.outbox.change(id.seq, |row| again(row, now)),
            DeadSource::Work if is_dead => self.work.change(id.seq, |row| again(row, now)),
            _ => {}
        }
        is_dead
    }

    pub(super) fn discard(&mut self, id: DeadLetterId) -> bool {
        let is_dead = self.is_dead(id);
        match id.source {
            DeadSource::Outbox if is_dead => drop(self.outbox.remove(id.seq)),
            DeadSource::Work if is_dead => self.remove_work(id.seq),
            _ => {}
        }
        is_dead
    }

    pub(super) fn remove_work(&mut self, seq: i64) {
        let Some(name) = self.work.remove(seq).as_ref().and_then(timer_of) else { return };
        if let Some(timers) = self.timers.get_mut(&name) {
            timers.remove(&seq);
            if timers.is_empty() {
                self.timers.remove(&name);
            }
        }
    }

    /// The timers of a name and key that are neither being done nor dead.
    fn idle_timers(&self, name: &Name) -> Vec<i64> {
        let is_idle = |seq: &i64| self.work.get(*seq).is_some_and(Row::is_idle);
        self.timers.get(name).into_iter().flatten().copied().filter(is_idle).collect()
    }

    pub(super) fn cancel_timer(&mut self, name: &Name) -> Result<bool, Locked> {
        let idle = self.idle_timers(name);
        if idle.iter().any(|seq| self.work.get(*seq).is_some_and(|row| row.taken)) {
            return Err(Locked);
        }
        for seq in &idle {
            self.remove_work(*seq);
        }
        Ok(!idle.is_empty())
    }

    pub(super) fn timers(&self, limit: usize) -> Vec<TimerRecord> {
        let timers = self.work.rows().filter(|(_, row)| row.is_idle() && row.record.kind == WorkKind::Timer);
        let mut timers: Vec<_> = timers.collect();
        timers.sort_by_key(|(seq, row)| (row.due, *seq));
        timers.truncate(limit);
        let timer = |row: &Row<_, WorkRecord>| TimerRecord {
            id: row.record.id,
            name: row.record.name.clone(),
            key: row.record.timer_key.clone(),
            due_at: row.due,
        };
        timers.into_iter().map(|(_, row)| timer(row)).collect()
    }

    pub(super) fn is_marked(&self, mark: &Marked) -> bool {
        self.inbox.contains_key(mark)
    }

    pub(super) fn standing(&self, mark: &InboxMark, lane: Option<&str>) -> Standing {
        if self.is_marked(&marked(mark)) {
            return Standing::Handled;
        }
        match lane {
            Some(lane) if self.work.in_lane(&lane_of_work(lane)).next().is_some() => Standing::Behind,
            _ => Standing::New,
        }
    }

    pub(super) fn purge_published(&mut self, now: SystemTime) -> u64 {
        let count = self.published.len();
        self.published.retain(|until| *until > now);
        (count - self.published.len()) as u64
    }

    pub(super) fn purge_inbox(&mut self, before: SystemTime) -> u64 {
        let marks = self.inbox.len();
        self.inbox.retain(|_, at| *at >= before);
        u64::try_from(marks - self.inbox.len()).unwrap_or(u64::MAX)
    }
}

pub(super) fn dead_event(seq: i64, row: &Row<(), OutboxRecord>) -> DeadLetter {
    let (id, record) = (DeadLetterId { source: DeadSource::Outbox, seq }, row.record.clone());
    DeadLetter {
        topic: record.topic,
        key: record.key,
        payload: record.payload,
        headers: record.headers,
        attempts: row.attempts,
        created_at: record.raised_at,
        ..DeadLetter::new(id, record.id, record.name, record.version, row.error.clone().unwrap_or_default())
    }
}

pub(super) fn dead_work(seq: i64, row: &Row<WorkQueue, WorkRecord>) -> DeadLetter {
    let (id, record) = (DeadLetterId { source: DeadSource::Work, seq }, row.record.clone());
    DeadLetter {
        handler: record.handler,
        group: record.group,
        topic: record.topic,
        key: record.key,
        payload: record.payload,
        headers: record.headers,
        attempts: row.attempts,
        created_at: record.created_at,
        ..DeadLetter::new(id, record.id, record.name, record.version, row.error.clone().unwrap_or_default())
    }
}

/// Idempotency keys.
impl State {
    pub(super) fn key(&self, name: &Name) -> Option<&Key> {
        self.keys.get(name)
    }

    /// Looks first: what is committed can be told whatever a transaction is about to do to it.
    pub(super) fn claim_key(&mut self, request: &IdempotentRequest) -> Result<IdempotentOutcome, Locked> {
        let name = name_of(&request.claim);
        if let Some(outcome) = self.keys.get(&name).and_then(|key| key.look(request)) {
            return Ok(outcome);
        }
        self.is_key_free(&name)?;
        self.keys.put(name, Key::claimed(request));
        Ok(IdempotentOutcome::Claimed)
    }

    fn is_key_free(&self, name: &Name) -> Result<(), Locked> {
        if self.taken_keys.contains_key(name) { Err(Locked) } else { Ok(()) }
    }

    pub(super) fn renew_key(&mut self, claim: &IdempotentClaim, lease_until: SystemTime) -> Result<bool, Locked> {
        self.is_key_free(&name_of(claim))?;
        Ok(self.keys.renew(claim, lease_until))
    }

    pub(super) fn free_key(&mut self, claim: &IdempotentClaim) -> Result<bool, Locked> {
        self.is_key_free(&name_of(claim))?;
        Ok(self.keys.free(claim))
    }

    pub(super) fn purge_keys(&mut self, done_before: SystemTime, lease_before: SystemTime) -> u64 {
        u64::try_from(self.keys.purge(done_before, lease_before)).unwrap_or(u64::MAX)
    }
}

/// The transaction under way.
impl State {
    /// Takes work that is done out of everybody's reach. `false` where the claim does not hold, or it is taken already.
    pub(super) fn take_claimed(&mut self, claim: Claim) -> bool {
        let holds = self.work.held(claim).is_some_and(|row| !row.taken);
        if holds {
            self.work.change(claim.seq, |row| row.taken = true);
        }
        holds
    }

    /// Takes the timers of a name and key that are not being done. Gives their numbers, and the id of the last one.
    pub(super) fn take_timers(&mut self, name: &Name) -> (Vec<i64>, Option<Uuid>) {
        let mut idle = self.idle_timers(name);
        idle.retain(|seq| self.work.get(*seq).is_some_and(|row| !row.taken));
        for seq in &idle {
            self.work.change(*seq, |row| row.taken = true);
        }
        let last = idle.last().and_then(|seq| self.work.get(*seq)).map(|row| row.record.id);
        (idle, last)
    }

    /// Takes an idempotency key that a change is about.
    pub(super) fn take_key(&mut self, change: &Change) {
        if let Some(name) = change.key() {
            *self.taken_keys.entry(name).or_default() += 1;
        }
    }

    /// Lets go of what a change has taken.
    pub(super) fn undo(&mut self, change: &Change) {
        if let Change::Remove(seq) = change {
            self.work.change(*seq, |row| row.taken = false);
        }
        if let Change::Saga(change) = change {
            self.sagas.let_go(&change.claim.id);
        }
        self.leave_key(change);
    }

    fn leave_key(&mut self, change: &Change) {
        let Some(name) = change.key() else { return };
        if let Some(count) = self.taken_keys.get_mut(&name) {
            *count -= 1;
            if *count == 0 {
                self.taken_keys.remove(&name);
            }
        }
    }

    /// Makes a transaction's changes, in order.
    pub(super) fn apply(&mut self, changes: Vec<Change>) {
        let mut own_timers = HashMap::new();
        for change in changes {
            self.leave_key(&change);
            match change {
                Change::Event(record) => self.insert_event(record),
                Change::Work(record) => self.insert_work(record, &mut own_timers),
                Change::Remove(seq) => self.remove_work(seq),
                Change::Mark(mark) => drop(self.inbox.insert(marked(&mark), mark.at)),
                Change::ClaimKey(request) => self.keys.put(name_of(&request.claim), Key::claimed(&request)),
                Change::FinishKey { claim, response, at } => {
                    let name = name_of(&claim);
                    if let Some(mut key) = self.keys.get(&name).cloned() {
                        key.finish(at, response);
                        self.keys.put(name, key);
                    }
                }
                Change::Saga(change) => self.sagas.apply(change),
                Change::Awaited { event, at } => self.sagas.arrive(event, at),
            }
        }
    }

    fn insert_event(&mut self, record: OutboxRecord) {
        let lane = record.key.clone().map(|key| (record.topic.clone(), key));
        let due = record.raised_at;
        self.outbox.insert(Row { lane, stage: Stage::Ready, ..Row::new(record, (), due) });
    }

    /// A timer takes the place of one that the same transaction has stored before.
    fn insert_work(&mut self, record: WorkRecord, own_timers: &mut HashMap<Name, i64>) {
        let name = timer_of(&record);
        if let Some(before) = name.as_ref().and_then(|name| own_timers.get(name)).copied() {
            self.remove_work(before);
        }
        let stage = if record.dead { Stage::Dead } else { Stage::Waiting };
        let lane = record.lane.as_deref().map(lane_of_work);
        let (attempts, error, queue, due) = (record.attempts, record.error.clone(), record.queue(), record.due_at);
        let seq = self.work.insert(Row { lane, stage, attempts, error, ..Row::new(record, queue, due) });
        if let Some(name) = name {
            self.timers.entry(name.clone()).or_default().insert(seq);
            own_timers.insert(name, seq);
        }
    }
}
