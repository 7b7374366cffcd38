//! One unit of work's transaction: changes that are made at its commit, all in one step.

use std::any::Any;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::OwnedMutexGuard;
use uuid::Uuid;

use super::Shared;
use super::keys::{Key, Name, name_of};
use super::state::{Change, Marked, State, marked, timer_of};
use crate::store::driver::{BoxFuture, IdempotentRequest, Transaction};
use crate::store::{
    AwaitedEvent, Claim, IdempotentClaim, IdempotentOutcome, InboxMark, Record, SagaChange, SagaSaved, StoreError,
    StoreErrorKind, WorkRecord,
};
use crate::unit::Carried;

/// A transaction, the only one at its time.
#[derive(Debug)]
pub(super) struct MemoryTransaction {
    shared: Arc<Shared>,
    changes: Vec<Change>,
    /// How many changes there were when each savepoint began.
    savepoints: Vec<usize>,
    marks: HashSet<Marked>,
    /// What makes it the only one; given up after everything it has taken.
    _turn: OwnedMutexGuard<()>,
}

impl MemoryTransaction {
    pub(super) fn new(shared: Arc<Shared>, turn: OwnedMutexGuard<()>) -> Self {
        Self { shared, changes: Vec::new(), savepoints: Vec::new(), marks: HashSet::new(), _turn: turn }
    }

    fn add(&mut self, state: &mut State, change: Change) {
        state.take_key(&change);
        self.changes.push(change);
    }

    /// Forgets all changes but the first.
    fn undo_to(&mut self, count: usize) {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.state();
        for change in self.changes.drain(count..).rev() {
            state.undo(&change);
            if let Change::Mark(mark) = &change {
                self.marks.remove(&marked(mark));
            }
        }
    }

    fn keep(&mut self, records: Vec<Record>) -> Vec<Uuid> {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.state();
        let mut ids: Vec<Uuid> = records.iter().map(Record::id).collect();
        let timer = |record: &Record| match record {
            Record::Work(work) => timer_of(work),
            Record::Outbox(_) => None,
        };
        // Of the timers of one key the last one counts.
        let last: HashMap<Name, (usize, Uuid)> =
            records.iter().enumerate().filter_map(|(at, record)| Some((timer(record)?, (at, record.id())))).collect();
        let mut kept = HashMap::new();
        for (at, record) in records.into_iter().enumerate() {
            let Some(name) = timer(&record) else {
                self.add(&mut state, as_change(record, None));
                continue;
            };
            let Some((last, own)) = last.get(&name).copied() else { continue };
            let id = *kept.entry(name).or_insert_with_key(|name| self.move_timer(&mut state, name).unwrap_or(own));
            ids[at] = id;
            if at == last {
                self.add(&mut state, as_change(record, Some(id)));
            }
        }
        ids
    }

    /// Makes room for a timer. Gives the id of the one whose place it takes.
    fn move_timer(&mut self, state: &mut State, name: &Name) -> Option<Uuid> {
        let own = self.changes.iter().rev().find_map(|change| match change {
            Change::Work(work) if timer_of(work).as_ref() == Some(name) => Some(work.id),
            _ => None,
        });
        let (taken, theirs) = state.take_timers(name);
        self.changes.extend(taken.into_iter().map(Change::Remove));
        own.or(theirs)
    }

    /// A key as it is after what this transaction has done to it.
    fn key(&self, state: &State, name: &Name) -> Option<Key> {
        let mut key = state.key(name).cloned();
        for change in &self.changes {
            match change {
                Change::ClaimKey(request) if name_of(&request.claim) == *name => key = Some(Key::claimed(request)),
                Change::FinishKey { claim, response, at } if name_of(claim) == *name => {
                    if let Some(key) = &mut key {
                        key.finish(*at, response.clone());
                    }
                }
                _ => {}
            }
        }
        key
    }

    fn claim_key(&mut self, request: IdempotentRequest) -> IdempotentOutcome {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.state();
        let key = self.key(&state, &name_of(&request.claim));
        if let Some(outcome) = key.and_then(|key| key.look(&request)) {
            return outcome;
        }
        self.add(&mut state, Change::ClaimKey(request));
        IdempotentOutcome::Claimed
    }

    fn finish_key(&mut self, claim: IdempotentClaim, response: Vec<u8>, at: SystemTime) -> bool {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.state();
        let holds = self.key(&state, &name_of(&claim)).is_some_and(|key| key.is_held(&claim));
        if holds {
            self.add(&mut state, Change::FinishKey { claim, response, at });
        }
        holds
    }

    fn mark(&mut self, mark: InboxMark) -> bool {
        let (name, shared) = (marked(&mark), Arc::clone(&self.shared));
        let first = !shared.state().is_marked(&name) && self.marks.insert(name);
        if first {
            self.changes.push(Change::Mark(mark));
        }
        first
    }

    fn save_saga(&mut self, change: SagaChange) -> SagaSaved {
        let saved = self.shared.state().sagas.take(&change);
        if saved != SagaSaved::Lost {
            self.changes.push(Change::Saga(change));
        }
        saved
    }

    fn is_lane_held(&self, lane: &str) -> bool {
        let by_own = |change: &Change| matches!(change, Change::Work(work) if work.lane.as_deref() == Some(lane));
        self.shared.state().lane_is_held(lane) || self.changes.iter().any(by_own)
    }

    fn finish(&mut self, claim: Claim) -> bool {
        let held = self.shared.state().take_claimed(claim);
        if held {
            self.changes.push(Change::Remove(claim.seq));
        }
        held
    }

    fn end_savepoint(&mut self) -> Result<usize, StoreError> {
        let none = || StoreError::new(StoreErrorKind::Database, "there is no savepoint to end");
        self.savepoints.pop().ok_or_else(none)
    }
}

/// A record to be stored, under its own id or the one that is given.
fn as_change(record: Record, id: Option<Uuid>) -> Change {
    match record {
        Record::Outbox(record) => Change::Event(record),
        Record::Work(record) => Change::Work(WorkRecord { id: id.unwrap_or(record.id), ..record }),
    }
}

impl Transaction for MemoryTransaction {
    fn handle(&mut self) -> Option<&mut (dyn Any + Send)> {
        None
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any + Send> {
        self
    }

    fn carried(&mut self) -> Option<&mut Carried> {
        None
    }

    fn store(&mut self, records: Vec<Record>) -> BoxFuture<'_, Result<Vec<Uuid>, StoreError>> {
        Box::pin(async move { Ok(self.keep(records)) })
    }

    fn mark_handled(&mut self, marks: Vec<InboxMark>) -> BoxFuture<'_, Result<Vec<bool>, StoreError>> {
        Box::pin(async move { Ok(marks.into_iter().map(|mark| self.mark(mark)).collect()) })
    }

    fn lane_is_held(&mut self, lane: &str) -> BoxFuture<'_, Result<bool, StoreError>> {
        let held = self.is_lane_held(lane);
        Box::pin(async move { Ok(held) })
    }

    fn finish_work(&mut self, claim: Claim) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(async move { Ok(self.finish(claim)) })
    }

    fn claim_idempotent(&mut self, request: IdempotentRequest) -> BoxFuture<'_, Result<IdempotentOutcome, StoreError>> {
        Box::pin(async move { Ok(self.claim_key(request)) })
    }

    fn finish_idempotent(
        &mut self,
        claim: IdempotentClaim,
        response: Vec<u8>,
        now: SystemTime,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(async move { Ok(self.finish_key(claim, response, now)) })
    }

    fn save_saga(&mut self, change: SagaChange) -> BoxFuture<'_, Result<SagaSaved, StoreError>> {
        Box::pin(async move { Ok(Self::save_saga(self, change)) })
    }

    fn keep_awaited(&mut self, event: AwaitedEvent, now: SystemTime) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            self.changes.push(Change::Awaited { event, at: now });
            Ok(())
        })
    }

    fn savepoint(&mut self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            self.savepoints.push(self.changes.len());
            Ok(())
        })
    }

    fn release_savepoint(&mut self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move { self.end_savepoint().map(drop) })
    }

    fn rollback_to_savepoint(&mut self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let count = self.end_savepoint()?;
            self.undo_to(count);
            Ok(())
        })
    }

    fn start_rollback_to_savepoint(&mut self) -> bool {
        if let Some(count) = self.savepoints.pop() {
            self.undo_to(count);
        }
        true
    }

    fn commit(mut self: Box<Self>) -> BoxFuture<'static, Result<(), StoreError>> {
        Box::pin(async move {
            let changes = std::mem::take(&mut self.changes);
            self.shared.state().apply(changes);
            Ok(())
        })
    }

    fn rollback(self: Box<Self>) -> BoxFuture<'static, Result<(), StoreError>> {
        drop(self);
        Box::pin(std::future::ready(Ok(())))
    }
}

impl Drop for MemoryTransaction {
    fn drop(&mut self) {
        self.undo_to(0);
    }
}
