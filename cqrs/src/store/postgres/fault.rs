//! What goes wrong with the server: every error says how to mend it.

use sqlx::error::DatabaseError;

use crate::store::{StoreError, StoreErrorKind};

/// What PostgreSQL calls a transaction in which a statement failed.
const ABORTED: &str = "25P02";

/// What the answer of the database means, where it is one of PostgreSQL's.
pub(crate) fn judge(error: &dyn DatabaseError) -> Option<(StoreErrorKind, &'static str)> {
    error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>()?;
    let code = error.code()?;
    Some(match (code.get(..2)?, &*code) {
        (_, ABORTED) => (StoreErrorKind::Database, GONE_ON),
        (_, "25006") => (
            StoreErrorKind::ReadOnly,
            "the database is read-only: name the primary in the store's URL, or set `default_transaction_read_only` back",
        ),
        (_, "40001" | "40P01" | "55P03") => {
            (StoreErrorKind::Busy, "the database chose this transaction as the victim of a conflict: try again")
        }
        (_, "53300") => (
            StoreErrorKind::Unavailable,
            "the database takes no more connections: raise its `max_connections`, or give the app a smaller pool",
        ),
        (_, "53100") => (StoreErrorKind::Unavailable, "the disk of the database is full: make room"),
        (_, "57014") => {
            (StoreErrorKind::Busy, "the database cancelled the statement: a timeout of its own, or somebody")
        }
        ("08" | "57" | "53", _) => {
            (StoreErrorKind::Unavailable, "the database ended the connection or cannot serve it")
        }
        ("28", _) => (
            StoreErrorKind::Configuration,
            "the database does not let this user in: mend user and password in the store's URL, or `pg_hba.conf`",
        ),
        (_, "3D000") => {
            (StoreErrorKind::Configuration, "there is no such database: create it, or mend its name in the store's URL")
        }
        (_, "3F000") => (StoreErrorKind::Configuration, "there is no such schema: create it, or mend its name"),
        (_, "42501") => (
            StoreErrorKind::Configuration,
            "the database's user lacks a right: grant it, to create the framework's tables that on their schema",
        ),
        (_, "42P01") => (StoreErrorKind::Database, "a table is missing: migrate the database"),
        ("23", _) => (StoreErrorKind::Constraint, "the database refused a statement"),
        _ => (StoreErrorKind::Database, "the database refused a statement"),
    })
}

/// Judges what the database answered to a commit. A server that is shut down, or told to end the connection, may do so after it has
/// committed.
pub(super) fn of_commit(error: sqlx::Error) -> StoreError {
    let code = error.as_database_error().and_then(DatabaseError::code);
    if code.is_some_and(|code| matches!(&*code, "57P01" | "57P02" | "57P03" | "57P05") || code.starts_with("08")) {
        let what = "the database ended the connection instead of an answer to a commit: it may have happened";
        return StoreError::new(StoreErrorKind::CommitUnknown, what).with_source(error);
    }
    StoreError::from_commit(error)
}

const GONE_ON: &str = "a statement of this unit of work failed before, and its handler went on: PostgreSQL undoes the whole \
     transaction then, and nothing was committed. Let the handler return the error, or do what may fail within \
     `tx.savepoint()`";
