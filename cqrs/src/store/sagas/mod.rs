//! What a store does for sagas, in the shape it crosses the driver's boundary.
//!
//! A saga is one row, a row for each of its steps that has begun, and a row in its log for each attempt that has ended. Somebody
//! holds it while it runs, by a lease with a fence; while it waits nobody does, and the row says when somebody is to look.

mod record;
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
pub(super) mod words;

use std::time::SystemTime;

pub use self::record::{
    AwaitedEvent, ClaimedSaga, SagaAsked, SagaChange, SagaClaim, SagaFilter, SagaLog, SagaNames, SagaPhase,
    SagaProgress, SagaRest, SagaRow, SagaSaved, SagaStart, SagaStarted, SagaStep, SagaUse, SagaWait,
};
use super::StoreError;
use super::driver::{BoxFuture, ClaimRequest};

/// A saga, and its steps that have begun.
pub type SagaFound = (SagaRow, Vec<SagaStep>);

/// What a store does for sagas.
///
/// A [`Driver`](super::driver::Driver) gives it out by [`sagas`](super::driver::Driver::sagas); what commits together with a step's own
/// rows is in [`Transaction`](super::driver::Transaction).
pub trait Sagas: Send + Sync {
    /// Stores a saga that begins, in the hands of who starts it, and commits that by itself. Of two that start one id at once, one has
    /// started it.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn start(&self, start: SagaStart) -> BoxFuture<'_, Result<SagaStarted, StoreError>>;

    /// Whether a claim of these names would find something. Asked before each claim, and where nothing waits it is all that is asked: so it
    /// locks nothing.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn is_any_due(
        &self,
        now: SystemTime,
        lease_now: SystemTime,
        names: SagaNames,
    ) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Claims sagas of these names that somebody has to look at, those first that are due first: what is due by `now` and in nobody's hands, and what is
    /// held by a lease that ran out by `lease_now`. Where a renewal has to wait for others who write, the owner of such a lease is given a
    /// chance first, as for stored work.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn claim(&self, request: ClaimRequest<'_>, names: SagaNames)
    -> BoxFuture<'_, Result<Vec<ClaimedSaga>, StoreError>>;

    /// Renews claims. Gives those that are still held.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn renew(
        &self,
        claims: Vec<SagaClaim>,
        lease_until: SystemTime,
    ) -> BoxFuture<'_, Result<Vec<SagaClaim>, StoreError>>;

    /// Stores what has become of a saga, and commits that by itself: in one statement where the store can.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn save(&self, change: SagaChange) -> BoxFuture<'_, Result<SagaSaved, StoreError>>;

    /// From how many on changes are better stored together, by [`save_many`](Self::save_many), than each by itself. `None`, unless a store
    /// says otherwise: never.
    fn saves_many(&self) -> Option<usize> {
        None
    }

    /// Stores what has become of several sagas, of each one change, and commits all of it at once. Gives of each, in their order, what
    /// [`save`](Self::save) would have given, or `None` where nothing was stored and `save` has to say why: its row is locked, it was lost.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn save_many(&self, changes: Vec<SagaChange>) -> BoxFuture<'_, Result<Vec<Option<SagaSaved>>, StoreError>> {
        let none = changes.iter().map(|_| None).collect();
        Box::pin(std::future::ready(Ok(none)))
    }

    /// Hands back what an owner holds: it is due at once, and its owner was not lost.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn hand_back(&self, owner: &str, now: SystemTime) -> BoxFuture<'_, Result<(), StoreError>>;

    /// When the next saga of these names is due that is in nobody's hands, if there is any.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn next_due(&self, names: SagaNames) -> BoxFuture<'_, Result<Option<SystemTime>, StoreError>>;

    /// Asks for something of a saga that has not ended, without writing down who did: where there are
    /// [operations](super::driver::Driver::operations), people ask by those. It is noted in its row, where its owner finds it with the next
    /// change; where it has none it is due at once. `false` where there is no such saga, or none that this can be asked of: only a stuck one can be resumed, and
    /// only one that goes forward cancelled.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn ask(&self, id: &str, asked: SagaAsked, now: SystemTime) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Makes sagas due that wait for an event which was [kept](super::driver::Transaction::keep_awaited) since the last time, or remembers it
    /// for those that somebody holds: they are due when they are let go. Gives their number.
    ///
    /// Asked after the commit that keeps an event, and once a second besides. Whoever stores that a saga waits looks for its events after
    /// that commit: of the two one comes last, and sees what the other has stored.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn tell(&self, now: SystemTime) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// Makes a saga due that has not ended: at once where nobody holds it, or when it is let go.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn poke(&self, id: &str, now: SystemTime) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Events that came for what waits so, in the order in which they came.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn awaited(&self, wait: SagaWait) -> BoxFuture<'_, Result<Vec<AwaitedEvent>, StoreError>>;

    /// A saga with its steps, in no order.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn saga(&self, id: &str) -> BoxFuture<'_, Result<Option<SagaFound>, StoreError>>;

    /// Sagas that a filter takes, those last started first, at most `limit`.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn find(&self, filter: SagaFilter, limit: usize) -> BoxFuture<'_, Result<Vec<SagaRow>, StoreError>>;

    /// The log of a saga, in its order.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn log(&self, id: &str) -> BoxFuture<'_, Result<Vec<SagaLog>, StoreError>>;

    /// Which versions of which sagas have not ended, with the steps that have begun, and how many each.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn in_use(&self) -> BoxFuture<'_, Result<Vec<SagaUse>, StoreError>>;

    /// Deletes sagas that ended before, and events that came before `events_before`. Gives the number of sagas.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn purge(&self, ended_before: SystemTime, events_before: SystemTime) -> BoxFuture<'_, Result<u64, StoreError>>;
}
