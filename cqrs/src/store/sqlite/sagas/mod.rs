//! Sagas: `change` starts them and stores what becomes of them, `claim` hands them out, `events` keeps what they wait for, and `find`
//! looks for them. `rows` is what these share.

mod change;
mod claim;
mod events;
mod find;
mod rows;

use std::time::SystemTime;

pub(super) use self::change::{ask, save_within};
pub(super) use self::events::keep;
use super::SqliteStore;
use crate::store::claiming::Request;
use crate::store::driver::{BoxFuture, ClaimRequest};
use crate::store::{
    AwaitedEvent, ClaimedSaga, SagaAsked, SagaChange, SagaClaim, SagaFilter, SagaLog, SagaNames, SagaRow, SagaSaved,
    SagaStart, SagaStarted, SagaStep, SagaUse, SagaWait, Sagas, StoreError,
};

/// Every statement whose text is fixed, for the test that none of them scans a table.
#[cfg(test)]
pub(super) const STATEMENTS: [&[&str]; 4] =
    [change::STATEMENTS, claim::STATEMENTS, events::STATEMENTS, find::STATEMENTS];

#[cfg(test)]
pub(super) use self::{
    change::upserting,
    claim::{ANYTHING, FIND as DUE, NEXT_DUE, renewing},
    events::{AWAITED, WAKE},
    find::{LIST, LIST_NAMED, LIST_PHASE, PURGE, PURGE_EVENTS},
};

impl Sagas for SqliteStore {
    fn start(&self, start: SagaStart) -> BoxFuture<'_, Result<SagaStarted, StoreError>> {
        Box::pin(self.start_saga(start))
    }

    fn is_any_due(
        &self,
        now: SystemTime,
        lease_now: SystemTime,
        names: SagaNames,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(self.is_any_saga_due(rows::micros(now), rows::micros(lease_now), names))
    }

    fn claim(
        &self,
        request: ClaimRequest<'_>,
        names: SagaNames,
    ) -> BoxFuture<'_, Result<Vec<ClaimedSaga>, StoreError>> {
        let request = Request::new(&request);
        Box::pin(self.take_sagas(request, names))
    }

    fn renew(
        &self,
        claims: Vec<SagaClaim>,
        lease_until: SystemTime,
    ) -> BoxFuture<'_, Result<Vec<SagaClaim>, StoreError>> {
        Box::pin(self.hold_sagas(claims, lease_until))
    }

    fn save(&self, change: SagaChange) -> BoxFuture<'_, Result<SagaSaved, StoreError>> {
        Box::pin(self.save_saga(change))
    }

    /// Two are one sync of the disk.
    fn saves_many(&self) -> Option<usize> {
        Some(2)
    }

    fn save_many(&self, changes: Vec<SagaChange>) -> BoxFuture<'_, Result<Vec<Option<SagaSaved>>, StoreError>> {
        Box::pin(self.save_sagas(changes))
    }

    fn hand_back(&self, owner: &str, now: SystemTime) -> BoxFuture<'_, Result<(), StoreError>> {
        let owner = owner.to_owned();
        Box::pin(async move { self.named(claim::hand_back(&self.writer, owner, now).await) })
    }

    fn next_due(&self, names: SagaNames) -> BoxFuture<'_, Result<Option<SystemTime>, StoreError>> {
        Box::pin(async move { self.named(claim::next_due(&self.pool, names).await) })
    }

    fn ask(&self, id: &str, asked: SagaAsked, now: SystemTime) -> BoxFuture<'_, Result<bool, StoreError>> {
        let id = id.to_owned();
        Box::pin(async move { Ok(self.named(ask(&self.writer, id, asked, now).await)?.is_some()) })
    }

    fn tell(&self, _: SystemTime) -> BoxFuture<'_, Result<u64, StoreError>> {
        // Whoever keeps an event has the write lock, and wakes those that wait for it. Nothing comes between.
        Box::pin(std::future::ready(Ok(0)))
    }

    fn poke(&self, id: &str, now: SystemTime) -> BoxFuture<'_, Result<(), StoreError>> {
        let id = id.to_owned();
        Box::pin(async move { self.named(change::poke(&self.writer, id, now).await) })
    }

    fn awaited(&self, wait: SagaWait) -> BoxFuture<'_, Result<Vec<AwaitedEvent>, StoreError>> {
        Box::pin(async move { self.named(events::awaited(&self.pool, wait).await) })
    }

    fn saga(&self, id: &str) -> BoxFuture<'_, Result<Option<(SagaRow, Vec<SagaStep>)>, StoreError>> {
        let id = id.to_owned();
        Box::pin(async move { self.named(find::saga(&self.pool, id).await) })
    }

    fn find(&self, filter: SagaFilter, limit: usize) -> BoxFuture<'_, Result<Vec<SagaRow>, StoreError>> {
        Box::pin(async move { self.named(find::find(&self.pool, filter, limit).await) })
    }

    fn log(&self, id: &str) -> BoxFuture<'_, Result<Vec<SagaLog>, StoreError>> {
        let id = id.to_owned();
        Box::pin(async move { self.named(find::log(&self.pool, id).await) })
    }

    fn in_use(&self) -> BoxFuture<'_, Result<Vec<SagaUse>, StoreError>> {
        Box::pin(async move { self.named(find::in_use(&self.pool).await) })
    }

    fn purge(&self, ended_before: SystemTime, events_before: SystemTime) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(self.purge_sagas(ended_before, events_before))
    }
}
