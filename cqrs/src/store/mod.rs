//! The store: the database that holds outbox, inbox, stored work and dead letters beside the user's own tables.
//!
//! [`driver`] is what a store must be able to do; each store is a folder that does it.

#[cfg(any(feature = "mysql", feature = "postgres"))]
mod begin;
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
mod claiming;
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
mod desk;
pub mod driver;
mod error;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod found;
mod memory;
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
mod migrations;
#[cfg(feature = "mysql")]
mod mysql;
#[cfg_attr(
    not(any(feature = "mysql", feature = "postgres")),
    expect(dead_code, reason = "read by the stores whose tables may have other names")
)]
mod names;
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
mod operating;
mod operations;
#[cfg(feature = "postgres")]
mod postgres;
mod record;
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
mod rows;
mod sagas;
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod shards;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(test)]
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
mod tests;
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
mod timers;
mod url;

#[cfg(feature = "any")]
pub use crate::unit::any::{Any, AnyConnection, AnyPool, AnySavepoint};

pub use self::driver::Driver;
pub(crate) use self::error::is_unreachable;
pub use self::error::{StoreError, StoreErrorKind};
pub use self::memory::MemoryStore;
#[cfg(feature = "mysql")]
pub use self::mysql::MySqlStore;
pub use self::operations::{
    AuditAction, AuditChange, AuditEntry, AuditSource, DeadFilter, DeadSearch, Operation, Operations, OutboxId,
    OutboxRow, OutboxSearch, OutboxState, OutboxStatus, Signed, TimerFilter, TimerName, Touched,
};
#[cfg(feature = "postgres")]
pub use self::postgres::PostgresStore;
pub use self::record::{
    Claim, ClaimedOutbox, ClaimedWork, Counts, DeadLetter, DeadLetterId, DeadSource, IdempotentClaim,
    IdempotentOutcome, InboxMark, OutboxOutcome, OutboxRecord, Record, Standing, TimerRecord, WorkKind, WorkQueue,
    WorkRecord,
};
pub use self::sagas::{
    AwaitedEvent, ClaimedSaga, SagaAsked, SagaChange, SagaClaim, SagaFilter, SagaFound, SagaLog, SagaNames, SagaPhase,
    SagaProgress, SagaRest, SagaRow, SagaSaved, SagaStart, SagaStarted, SagaStep, SagaUse, SagaWait, Sagas,
};
#[cfg(feature = "sqlite")]
pub use self::sqlite::SqliteStore;
pub use self::url::Store;
pub(crate) use self::url::StoreOptions;
