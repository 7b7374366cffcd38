//! What goes wrong with a store.

use std::fmt;

use crate::BoxError;

/// What a caller can decide on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// The URL or a setting is wrong; says what and how to mend it.
    Configuration,
    /// The database cannot be reached or opened, or gives no connection in time.
    Unavailable,
    /// The database is locked by another writer, or chose this transaction as the victim of a deadlock: try again.
    Busy,
    /// The database is read-only.
    ReadOnly,
    /// The schema is newer than the program.
    SchemaNewer,
    /// A constraint was violated.
    Constraint,
    /// The answer to a commit was lost: it may have happened.
    CommitUnknown,
    /// A transaction would wait for one that the same task holds.
    WouldDeadlock,
    /// Anything else the database said.
    Database,
}

/// A store failed.
///
/// [`kind`](Self::kind) says what to decide on, the text names the thing and the mend, `source` is what the database said.
pub struct StoreError {
    kind: StoreErrorKind,
    what: String,
    source: Option<BoxError>,
}

impl StoreError {
    /// Makes an error, for drivers.
    pub fn new(kind: StoreErrorKind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), source: None }
    }

    /// Adds what the database said.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What a caller can decide on.
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind, StoreErrorKind::Unavailable | StoreErrorKind::Busy)
    }

    /// Judges what the database answered to a commit: a refusal is one, silence is not.
    pub(crate) fn from_commit(error: sqlx::Error) -> Self {
        let lost = matches!(
            error,
            sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed | sqlx::Error::Tls(_)
        );
        if lost {
            return Self::new(StoreErrorKind::CommitUnknown, "the answer to a commit was lost: it may have happened")
                .with_source(error);
        }
        error.into()
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl fmt::Debug for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreError")
            .field("kind", &self.kind)
            .field("what", &self.what)
            .field("source", &self.source)
            .finish()
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let (kind, what) = judge(&error);
        Self::new(kind, what).with_source(error)
    }
}

/// Whether an error says that a store cannot be reached for now, or anything does that it comes of.
pub(crate) fn is_unreachable(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source()).any(|error| {
        let own = error.downcast_ref::<StoreError>().map(StoreError::kind);
        let kind = own.or_else(|| error.downcast_ref::<sqlx::Error>().map(|error| judge(error).0));
        kind == Some(StoreErrorKind::Unavailable)
    })
}

/// What a driver's error means.
fn judge(error: &sqlx::Error) -> (StoreErrorKind, String) {
    match error {
        sqlx::Error::PoolTimedOut => (
            StoreErrorKind::Unavailable,
            "the pool gave no connection in time: every connection is busy, perhaps waiting for one another".to_owned(),
        ),
        sqlx::Error::PoolClosed => (StoreErrorKind::Unavailable, "the pool is closed".to_owned()),
        sqlx::Error::Io(error) if is_distrust(error) => (StoreErrorKind::Configuration, format!("the {DISTRUST}")),
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) => {
            (StoreErrorKind::Unavailable, "the database cannot be reached".to_owned())
        }
        sqlx::Error::Configuration(_) => (StoreErrorKind::Configuration, "the database URL is wrong".to_owned()),
        #[cfg(feature = "postgres")]
        sqlx::Error::Database(database) if let Some((kind, what)) = super::postgres::judge(database.as_ref()) => {
            (kind, what.to_owned())
        }
        sqlx::Error::Database(database) => {
            let what = match sqlite_code(database.as_ref()) {
                Some(13) => "the disk is full: make room",
                _ => "the database refused a statement",
            };
            (kind_of(database.as_ref()), what.to_owned())
        }
        _ => (StoreErrorKind::Database, "the database driver failed".to_owned()),
    }
}

/// What it means that a server's certificate is not believed, and the mend.
pub(super) const DISTRUST: &str = "server's certificate is not trusted: name the authority that it comes from in the store's \
     URL (`sslrootcert` for PostgreSQL, `ssl-ca` for MySQL), and the host as the certificate does";

/// Whether a server's certificate was not believed: asked again, it would show the same one. The type of that error is of a
/// library that sqlx keeps to itself.
pub(super) fn is_distrust(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::InvalidData && error.to_string().starts_with("invalid peer certificate")
}

fn kind_of(error: &dyn sqlx::error::DatabaseError) -> StoreErrorKind {
    use sqlx::error::ErrorKind;
    if !matches!(error.kind(), ErrorKind::Other) {
        return StoreErrorKind::Constraint;
    }
    #[cfg(feature = "mysql")]
    if let Some(error) = error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
        return super::mysql::kind_of(error.number()).unwrap_or(StoreErrorKind::Database);
    }
    // 5 BUSY, 6 LOCKED, 8 READONLY, 10 IOERR, 13 FULL, 14 CANTOPEN,
    // 19 CONSTRAINT (of a kind that sqlx does not tell apart: a trigger, a data type).
    match sqlite_code(error) {
        Some(5 | 6) => StoreErrorKind::Busy,
        Some(8) => StoreErrorKind::ReadOnly,
        Some(10 | 13 | 14) => StoreErrorKind::Unavailable,
        Some(19) => StoreErrorKind::Constraint,
        _ => StoreErrorKind::Database,
    }
}

/// SQLite's primary result code: the low byte of the extended one. PostgreSQL and MySQL answer with five characters of
/// SQLSTATE, none of which reads as one of those that are looked for.
fn sqlite_code(error: &dyn sqlx::error::DatabaseError) -> Option<u32> {
    Some(error.code()?.parse::<u32>().ok()? & 0xff)
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use sqlx::error::{DatabaseError, ErrorKind};

    use super::*;

    /// What a database answered: it did answer.
    #[derive(Debug)]
    struct Answer(&'static str);

    impl fmt::Display for Answer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl std::error::Error for Answer {}

    impl DatabaseError for Answer {
        fn message(&self) -> &str {
            self.0
        }

        fn code(&self) -> Option<Cow<'_, str>> {
            Some(self.0.into())
        }

        fn as_error(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
            self
        }

        fn as_error_mut(&mut self) -> &mut (dyn std::error::Error + Send + Sync + 'static) {
            self
        }

        fn into_error(self: Box<Self>) -> BoxError {
            self
        }

        fn kind(&self) -> ErrorKind {
            ErrorKind::Other
        }
    }

    #[test]
    fn g3_a_commit_whose_answer_is_lost_is_commit_unknown() {
        let io = || std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        let lost = [
            sqlx::Error::Io(io()),
            sqlx::Error::Tls(io().into()),
            sqlx::Error::Protocol("half an answer".into()),
            sqlx::Error::WorkerCrashed,
        ];
        for error in lost {
            let said = error.to_string();
            let judged = StoreError::from_commit(error);
            assert_eq!((judged.kind(), judged.is_retryable()), (StoreErrorKind::CommitUnknown, false), "{said}");
            assert_eq!(std::error::Error::source(&judged).unwrap().to_string(), said);
        }
    }

    /// The database refused, or was never asked: nothing was committed.
    #[test]
    fn g3_a_commit_that_was_refused_or_never_sent_did_not_happen() {
        let answered = |code| sqlx::Error::Database(Box::new(Answer(code)));
        let known = [
            (answered("5"), StoreErrorKind::Busy),
            (answered("19"), StoreErrorKind::Constraint),
            (answered("13"), StoreErrorKind::Unavailable),
            (answered("1"), StoreErrorKind::Database),
            (sqlx::Error::PoolClosed, StoreErrorKind::Unavailable),
            (sqlx::Error::PoolTimedOut, StoreErrorKind::Unavailable),
        ];
        for (error, kind) in known {
            let said = error.to_string();
            assert_eq!(StoreError::from_commit(error).kind(), kind, "{said}");
        }
    }
}
