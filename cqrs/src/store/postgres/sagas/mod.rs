//! Sagas: `change` starts them and stores what becomes of them, `claim` hands them out, `events` keeps what they wait for and wakes
//! them, and `find` looks for them. `rows` is what these share.

mod change;
mod claim;
mod events;
mod find;
mod rows;

use std::time::SystemTime;

pub(super) use self::change::{ask, save};
pub(super) use self::events::keep;
use super::PostgresStore;
use crate::store::claiming::Request;
use crate::store::driver::{BoxFuture, ClaimRequest};
use crate::store::{
    AwaitedEvent, ClaimedSaga, SagaAsked, SagaChange, SagaClaim, SagaFilter, SagaLog, SagaNames, SagaRow, SagaSaved,
    SagaStart, SagaStarted, SagaStep, SagaUse, SagaWait, Sagas, StoreError,
};

/// The statements that are to scan no table.
#[cfg(test)]
pub(super) const STATEMENTS: [&[&str]; 4] =
    [change::STATEMENTS, claim::STATEMENTS, events::STATEMENTS, find::STATEMENTS];

#[cfg(test)]
pub(super) use self::{
    claim::CLAIM,
    events::{FIRST_OF_EACH, TELL},
};

impl Sagas for PostgresStore {
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
        Box::pin(async move { Ok(claim::renew(&self.names, &self.pool, claims, lease_until).await?) })
    }

    fn save(&self, change: SagaChange) -> BoxFuture<'_, Result<SagaSaved, StoreError>> {
        Box::pin(async move { Ok(save(&self.names, &self.pool, change).await?) })
    }

    /// Fewer take less than planning a statement for any number of them.
    fn saves_many(&self) -> Option<usize> {
        Some(5)
    }

    fn save_many(&self, changes: Vec<SagaChange>) -> BoxFuture<'_, Result<Vec<Option<SagaSaved>>, StoreError>> {
        Box::pin(async move { Ok(change::save_many(&self.names, &self.pool, changes).await?) })
    }

    fn hand_back(&self, owner: &str, now: SystemTime) -> BoxFuture<'_, Result<(), StoreError>> {
        let owner = owner.to_owned();
        Box::pin(async move { Ok(claim::hand_back(&self.names, &self.pool, owner, now).await?) })
    }

    fn next_due(&self, names: SagaNames) -> BoxFuture<'_, Result<Option<SystemTime>, StoreError>> {
        Box::pin(async move { Ok(claim::next_due(&self.names, &self.pool, names).await?) })
    }

    fn ask(&self, id: &str, asked: SagaAsked, now: SystemTime) -> BoxFuture<'_, Result<bool, StoreError>> {
        let id = id.to_owned();
        Box::pin(async move { Ok(ask(&self.names, &self.pool, id, asked, now).await?.is_some()) })
    }

    fn tell(&self, now: SystemTime) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(async move { Ok(events::tell(&self.names, &self.pool, now).await?) })
    }

    fn poke(&self, id: &str, now: SystemTime) -> BoxFuture<'_, Result<(), StoreError>> {
        let id = id.to_owned();
        Box::pin(async move { Ok(change::poke(&self.names, &self.pool, id, now).await?) })
    }

    fn awaited(&self, wait: SagaWait) -> BoxFuture<'_, Result<Vec<AwaitedEvent>, StoreError>> {
        Box::pin(async move { Ok(events::awaited(&self.names, &self.pool, wait).await?) })
    }

    fn saga(&self, id: &str) -> BoxFuture<'_, Result<Option<(SagaRow, Vec<SagaStep>)>, StoreError>> {
        let id = id.to_owned();
        Box::pin(async move { Ok(find::saga(&self.names, &self.pool, id).await?) })
    }

    fn find(&self, filter: SagaFilter, limit: usize) -> BoxFuture<'_, Result<Vec<SagaRow>, StoreError>> {
        Box::pin(async move { Ok(find::find(&self.names, &self.pool, filter, limit).await?) })
    }

    fn log(&self, id: &str) -> BoxFuture<'_, Result<Vec<SagaLog>, StoreError>> {
        let id = id.to_owned();
        Box::pin(async move { Ok(find::log(&self.names, &self.pool, id).await?) })
    }

    fn in_use(&self) -> BoxFuture<'_, Result<Vec<SagaUse>, StoreError>> {
        Box::pin(async move { Ok(find::in_use(&self.names, &self.pool).await?) })
    }

    fn purge(&self, ended_before: SystemTime, events_before: SystemTime) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(async move { Ok(find::purge(&self.names, &self.pool, ended_before, events_before).await?) })
    }
}
