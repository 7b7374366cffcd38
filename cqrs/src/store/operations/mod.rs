//! What people who operate a service ask of a store, in the shape it crosses the driver's boundary.

mod audit;
mod filter;
mod outbox;
#[cfg(test)]
pub(in crate::store) mod tests;

use std::collections::BTreeMap;
use std::time::SystemTime;

use uuid::Uuid;

pub use self::audit::{AuditAction, AuditChange, AuditEntry, AuditSource, Signed, Touched};
pub use self::filter::{DeadFilter, DeadSearch, TimerFilter};
pub use self::outbox::{OutboxId, OutboxRow, OutboxSearch, OutboxState, OutboxStatus};
use super::{DeadLetter, DeadLetterId, SagaAsked, StoreError, TimerRecord};
use crate::store::driver::BoxFuture;

/// What a store does for people who operate a service: it looks into the outbox, finds dead letters and timers, and does
/// with them, and with sagas, what it is told to, each time writing down who did it, in the same transaction.
///
/// A [`Driver`](super::driver::Driver) gives it out by [`operations`](super::driver::Driver::operations).
pub trait Operations: Send + Sync {
    /// How many rows of the outbox are in which state, and when the oldest of those that are neither published nor dead was
    /// raised.
    ///
    /// A store may not know of every row that somebody is busy with: then it counts those of this process as claimed, and
    /// others as ready.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn outbox_status(&self) -> BoxFuture<'_, Result<OutboxStatus, StoreError>>;

    /// Rows of the outbox in one state, in the order of storing.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn outbox_rows(&self, search: OutboxSearch) -> BoxFuture<'_, Result<Vec<OutboxRow>, StoreError>>;

    /// Dead letters that a filter takes, oldest first: by when their messages were made, and of the same time those of the
    /// outbox before stored work, each in the order of storing.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn find_dead(&self, search: DeadSearch) -> BoxFuture<'_, Result<Vec<DeadLetter>, StoreError>>;

    /// A dead letter. `None` where there is none of this name.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn dead_letter(&self, id: DeadLetterId) -> BoxFuture<'_, Result<Option<DeadLetter>, StoreError>>;

    /// Timers that wait and that a filter takes, soonest first, at most `limit`.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn find_timers(&self, filter: TimerFilter, limit: usize) -> BoxFuture<'_, Result<Vec<TimerRecord>, StoreError>>;

    /// Does what it is told to, and writes it down, in one transaction. `false`, and nothing is done nor written down, where
    /// there is no row of that name in a state in which this can be done to it.
    ///
    /// # Errors
    /// Fails with what the database said; nothing was done, unless it is
    /// [`CommitUnknown`](super::StoreErrorKind::CommitUnknown).
    fn operate(&self, operation: Operation, signed: Signed) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// What was done, latest first, at most `limit`; with `before` only what was written down before that entry.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn audit(&self, before: Option<i64>, limit: usize) -> BoxFuture<'_, Result<Vec<AuditEntry>, StoreError>>;

    /// Forgets what was done before. Gives the number of entries.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn purge_audit(&self, before: SystemTime) -> BoxFuture<'_, Result<u64, StoreError>>;
}

/// The name of a timer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TimerName {
    /// The id that it was given when it was scheduled.
    Id(Uuid),
    /// Its command and its key.
    Key {
        /// The command's stored name.
        name: String,
        /// The key.
        key: String,
    },
}

impl TimerName {
    /// The timer of a command, by its key.
    pub fn of<C: crate::Command>(key: impl Into<String>) -> Self {
        Self::Key { name: C::SPEC.name.to_owned(), key: key.into() }
    }
}

impl From<crate::TimerId> for TimerName {
    fn from(id: crate::TimerId) -> Self {
        Self::Id(id.uuid())
    }
}

impl From<Uuid> for TimerName {
    fn from(id: Uuid) -> Self {
        Self::Id(id)
    }
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// Makes a dead letter due again, in its place, its attempts forgotten.
    Replay(DeadLetterId),
    /// Deletes a dead letter; what it held back goes on.
    Discard(DeadLetterId),
    /// Gives a dead letter another payload and other headers, and makes it due again.
    Edit {
        /// Which.
        id: DeadLetterId,
        /// The payload from now on.
        payload: Vec<u8>,
        /// The headers from now on.
        headers: BTreeMap<String, String>,
    },
    /// Makes an outbox row due now that waits, its attempts counted as before; a dead one is replayed.
    Requeue(OutboxId),
    /// Moves a timer that is neither being done nor dead: it begins anew, and keeps its id. Where several wait under one key,
    /// the last one stored is moved, and the others go, as when one is stored.
    Reschedule {
        /// Which.
        timer: TimerName,
        /// When it is due from now on.
        due: SystemTime,
    },
    /// Deletes a timer that is neither being done nor dead.
    Cancel(TimerName),
    /// Asks for something of a saga, as [`Sagas::ask`](super::sagas::Sagas::ask) does.
    AskSaga {
        /// The saga's id.
        id: String,
        /// What.
        asked: SagaAsked,
    },
}

impl Operation {
    /// As what it is written down.
    pub fn action(&self) -> AuditAction {
        match self {
            Self::Replay(_) => AuditAction::Replay,
            Self::Discard(_) => AuditAction::Discard,
            Self::Edit { .. } => AuditAction::Edit,
            Self::Requeue(_) => AuditAction::Requeue,
            Self::Reschedule { .. } => AuditAction::Reschedule,
            Self::Cancel(_) => AuditAction::Cancel,
            Self::AskSaga { asked, .. } => (*asked).into(),
        }
    }
}
