//! Sagas: `change` starts them and stores what becomes of them, `claim` hands them out, `events` keeps what they wait for and wakes
//! them, and `find` looks for them. `rows` is what these share.

mod change;
mod claim;
mod events;
mod find;
mod rows;

use std::time::SystemTime;

pub(super) use self::change::{ask, check, save_within};
pub(super) use self::events::keep;
use super::MySqlStore;
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
    claim::{DUE, LATE, OWNED},
    events::{AWAITED, UNTOLD, WAITING},
    find::{ENDED, LIST, LIST_NAMED, LIST_PHASE, PURGE_EVENTS},
};

impl Sagas for MySqlStore {
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

    fn hand_back(&self, owner: &str, now: SystemTime) -> BoxFuture<'_, Result<(), StoreError>> {
        let owner = owner.as_bytes().to_vec();
        Box::pin(async move { self.named(self.hand_sagas_back(owner, now).await) })
    }

    fn next_due(&self, names: SagaNames) -> BoxFuture<'_, Result<Option<SystemTime>, StoreError>> {
        Box::pin(async move { self.named(claim::next_due(&self.pool, &self.names, names).await) })
    }

    fn ask(&self, id: &str, asked: SagaAsked, now: SystemTime) -> BoxFuture<'_, Result<bool, StoreError>> {
        let id = id.as_bytes().to_vec();
        Box::pin(async move {
            let asked = async {
                let mut connection = self.pool.acquire().await?;
                ask(&mut connection, &self.names, &id, asked, now).await
            };
            Ok(self.named(asked.await)?.is_some())
        })
    }

    fn tell(&self, now: SystemTime) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(async move { self.named(self.tell_sagas(now).await) })
    }

    fn poke(&self, id: &str, now: SystemTime) -> BoxFuture<'_, Result<(), StoreError>> {
        let id = id.as_bytes().to_vec();
        Box::pin(async move { self.named(change::poke(&self.pool, &self.names, id, now).await) })
    }

    fn awaited(&self, wait: SagaWait) -> BoxFuture<'_, Result<Vec<AwaitedEvent>, StoreError>> {
        Box::pin(async move { self.named(events::awaited(&self.pool, &self.names, wait).await) })
    }

    fn saga(&self, id: &str) -> BoxFuture<'_, Result<Option<(SagaRow, Vec<SagaStep>)>, StoreError>> {
        let id = id.as_bytes().to_vec();
        Box::pin(async move { self.named(find::saga(&self.pool, &self.names, id).await) })
    }

    fn find(&self, filter: SagaFilter, limit: usize) -> BoxFuture<'_, Result<Vec<SagaRow>, StoreError>> {
        Box::pin(async move { self.named(find::find(&self.pool, &self.names, filter, limit).await) })
    }

    fn log(&self, id: &str) -> BoxFuture<'_, Result<Vec<SagaLog>, StoreError>> {
        let id = id.as_bytes().to_vec();
        Box::pin(async move { self.named(find::log(&self.pool, &self.names, id).await) })
    }

    fn in_use(&self) -> BoxFuture<'_, Result<Vec<SagaUse>, StoreError>> {
        Box::pin(async move { self.named(find::in_use(&self.pool, &self.names).await) })
    }

    fn purge(&self, ended_before: SystemTime, events_before: SystemTime) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(async move { self.named(self.purge_sagas(ended_before, events_before).await) })
    }
}
