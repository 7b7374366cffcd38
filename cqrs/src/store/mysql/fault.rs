//! What goes wrong with the server: every error names it and says how to mend it.

use std::fmt;

use sqlx::mysql::{MySqlConnectOptions, MySqlDatabaseError};

use crate::store::error::{DISTRUST, is_distrust};
use crate::store::{StoreError, StoreErrorKind};

/// The seconds somebody waits for a connection.
pub(super) const TURN_SECONDS: u64 = 5;

/// Where the database lies, for error texts: never with its password.
#[derive(Debug, Clone)]
pub(super) struct Place {
    server: String,
    database: String,
}

impl Place {
    pub(super) fn new(options: &MySqlConnectOptions) -> Self {
        Self {
            server: format!("{}:{}", options.get_host(), options.get_port()),
            database: options.get_database().unwrap_or_default().to_owned(),
        }
    }

    /// Says what the server's answer means.
    pub(super) fn explain(&self, error: sqlx::Error) -> StoreError {
        match self.judge(&error) {
            Some((kind, what)) => StoreError::new(kind, what).with_source(error),
            None => error.into(),
        }
    }

    fn judge(&self, error: &sqlx::Error) -> Option<(StoreErrorKind, String)> {
        match error {
            sqlx::Error::Io(error) if is_distrust(error) => {
                return Some((StoreErrorKind::Configuration, format!("{self}: the {DISTRUST}")));
            }
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) => {
                let what = format!(
                    "{self} cannot be reached: is the server up, and are host, port and TLS in the store's URL right?"
                );
                return Some((StoreErrorKind::Unavailable, what));
            }
            sqlx::Error::PoolTimedOut => {
                let what = format!(
                    "{self}: every connection was busy for too long ({TURN_SECONDS} s, or the timeout of your own pool): \
                     keep slow work out of transactions (`Begin<MySql>` begins late), and begin none while holding another"
                );
                return Some((StoreErrorKind::Unavailable, what));
            }
            _ => {}
        }
        let number = number(error)?;
        let kind = kind_of(number)?;
        Some((kind, format!("{self}: {}", self.mend(number, kind))))
    }

    fn mend(&self, number: u16, kind: StoreErrorKind) -> String {
        match number {
            1213 => "this transaction was rolled back to end a deadlock with another one: try again".to_owned(),
            1205 => "another transaction kept a row locked for longer than `innodb_lock_wait_timeout`: end it, or try \
                     again"
                .to_owned(),
            1044 | 1045 | 1698 => "the server refuses the user: look at user, password and grants".to_owned(),
            1049 => format!("there is no database `{}`: create it (`CREATE DATABASE {0}`)", self.database),
            1142 | 1143 | 1227 | 1370 => {
                "the user may not do that: the store needs SELECT, INSERT, UPDATE and DELETE on \
                                          its tables, and to migrate CREATE, ALTER and INDEX"
                    .to_owned()
            }
            1146 => "a table of the store is missing: migrate first (`migrate`, or `.migrate(true)` when building)"
                .to_owned(),
            1665 => {
                "the server logs statements (`binlog_format = STATEMENT`), which does not go with READ COMMITTED: set \
                     `binlog_format = ROW` (the default of MySQL 8) or `MIXED` (of MariaDB)"
                    .to_owned()
            }
            1153 => "a message is larger than the server's `max_allowed_packet`: raise that, or make messages smaller"
                .to_owned(),
            _ => match kind {
                StoreErrorKind::ReadOnly => {
                    "the server is read-only: it may be a replica; name the primary in the store's \
                                             URL, or set `read_only = 0`"
                        .to_owned()
                }
                StoreErrorKind::Busy => "the database is locked by others: try again".to_owned(),
                _ => "the server cannot do it at the moment".to_owned(),
            },
        }
    }
}

/// The number of what the server answered.
pub(super) fn number(error: &sqlx::Error) -> Option<u16> {
    let database = error.as_database_error()?.try_downcast_ref::<MySqlDatabaseError>()?;
    Some(database.number())
}

/// What an error's number means, where the same call may succeed later or somebody has to mend something.
pub(in crate::store) fn kind_of(number: u16) -> Option<StoreErrorKind> {
    Some(match number {
        // LOCK_WAIT_TIMEOUT, LOCK_DEADLOCK, LOCK_NOWAIT, and MariaDB's `Record has changed since last read` (with
        // `innodb_snapshot_isolation`).
        1205 | 1213 | 3572 | 1020 => StoreErrorKind::Busy,
        // OPTION_PREVENTS_STATEMENT, CANT_EXECUTE_IN_READ_ONLY_TRANSACTION, READ_ONLY_MODE, INNODB_READ_ONLY.
        1290 | 1792 | 1836 | 1874 => StoreErrorKind::ReadOnly,
        // CON_COUNT, OUT_OF_RESOURCES, SERVER_SHUTDOWN, DISK_FULL, RECORD_FILE_FULL, TOO_MANY_USER_CONNECTIONS,
        // USER_LIMIT_REACHED, QUERY_INTERRUPTED, NEW_ABORTING_CONNECTION, CONNECTION_KILLED, STATEMENT_TIMEOUT,
        // CLIENT_INTERACTION_TIMEOUT.
        1040 | 1041 | 1053 | 1021 | 1114 | 1203 | 1226 | 1317 | 1184 | 1927 | 1969 | 4031 => {
            StoreErrorKind::Unavailable
        }
        // Access denied, no such database, no such table, no such right.
        1044 | 1045 | 1049 | 1142 | 1143 | 1146 | 1227 | 1370 | 1665 | 1698 => StoreErrorKind::Configuration,
        // NET_PACKET_TOO_LARGE.
        1153 => StoreErrorKind::Database,
        _ => return None,
    })
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "database `{}` at `{}`", self.database, self.server)
    }
}

/// Whether a statement was chosen to end a deadlock: nothing of it was done.
fn is_deadlock(error: &sqlx::Error) -> bool {
    number(error) == Some(1213)
}

/// How often something is run that is chosen to end a deadlock.
const TRIES: usize = 5;

/// Counts how often something was run that may be chosen to end a deadlock.
#[derive(Debug, Default)]
pub(super) struct Tries(usize);

impl Tries {
    /// Whether it is to be run again: nothing of it was done, and whoever was in the way has gone on.
    pub(super) fn again<T>(&mut self, end: &Result<T, sqlx::Error>) -> bool {
        self.0 += 1;
        end.as_ref().is_err_and(is_deadlock) && self.0 < TRIES
    }
}

/// `SERVER_SHUTDOWN`, `QUERY_INTERRUPTED`, `CONNECTION_KILLED`, `CLIENT_INTERACTION_TIMEOUT`.
const ENDED_INSTEAD: [u16; 4] = [1053, 1317, 1927, 4031];

/// Judges what the server answered to a commit. One that is shut down, or told to end the connection, may do so after it has committed.
pub(super) fn of_commit(error: sqlx::Error) -> StoreError {
    if number(&error).is_some_and(|number| ENDED_INSTEAD.contains(&number)) {
        let what = "the server ended the connection instead of an answer to a commit: it may have happened";
        return StoreError::new(StoreErrorKind::CommitUnknown, what).with_source(error);
    }
    StoreError::from_commit(error)
}
