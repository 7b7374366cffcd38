//! From a URL or a pool of the user's to an open store.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions, MySqlRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, MySqlConnection, MySqlPool, Row};
use uuid::Uuid;

use super::MySqlStore;
use super::fault::{Place, TURN_SECONDS};
use super::transaction::depth;
use crate::store::names::Names;
use crate::store::url::Source;
use crate::store::{Store, StoreError, StoreErrorKind};

/// How long a connection that comes back is waited for.
const ANSWER: Duration = Duration::from_secs(2);

/// For how long a connection is trusted that nobody uses.
const TRUSTED: Duration = Duration::from_secs(1);

/// The oldest servers that have `FOR UPDATE SKIP LOCKED`.
const OLDEST_MARIADB: (u32, u32) = (10, 6);
const OLDEST_MYSQL: (u32, u32) = (8, 0);

impl MySqlStore {
    /// Connects.
    ///
    /// # Errors
    /// Each names the server and the mend: it cannot be reached, refuses the user, has no such database or is too old; the
    /// URL cannot be understood or names no database.
    pub(crate) async fn connect(store: Store) -> Result<Self, StoreError> {
        let Store { source, migrator, options } = store;
        let names = Names::new(options.prefix.as_deref(), None)?;
        let (pool, place, is_lent) = match source {
            Source::Url(url) => {
                let settings = parse(&url)?;
                let place = Place::new(&settings);
                (open(settings).await.map_err(|error| place.explain(error))?, place, false)
            }
            Source::Pool { pool, type_name } => {
                let pool = pool.downcast_ref::<MySqlPool>().cloned().ok_or_else(|| foreign(type_name))?;
                let place = Place::new(&pool.connect_options());
                (pool, place, true)
            }
            Source::Driver(_) => return Err(foreign("Driver")),
        };
        let mut store = Self::new(pool, is_lent, names, migrator, place);
        let version = store.version().await?;
        store.is_mariadb = is_mariadb(&version);
        Ok(store)
    }

    /// The server's version, if it is new enough.
    async fn version(&self) -> Result<String, StoreError> {
        let version: String = self.named(sqlx::query_scalar("SELECT VERSION()").fetch_one(&self.pool).await)?;
        if is_new_enough(&version) {
            return Ok(version);
        }
        let what = format!(
            "{}: the server is {version}; the store needs `FOR UPDATE SKIP LOCKED`, which MariaDB has since 10.6 and MySQL \
             since 8.0",
            self.place
        );
        Err(StoreError::new(StoreErrorKind::Configuration, what))
    }
}

fn foreign(type_name: &str) -> StoreError {
    let what = format!("the MySQL store takes a URL or a `MySqlPool`, not a `{type_name}`");
    StoreError::new(StoreErrorKind::Configuration, what)
}

pub(super) fn parse(url: &str) -> Result<MySqlConnectOptions, StoreError> {
    let form = "write `mysql://user:password@host:3306/database` (`mariadb://` is the same)";
    // The error of a URL may hold a part of it, and that may be the password.
    let settings: MySqlConnectOptions = url.parse().map_err(|_| {
        StoreError::new(StoreErrorKind::Configuration, format!("the store's URL cannot be understood: {form}"))
    })?;
    if settings.get_database().is_none_or(str::is_empty) {
        let what = format!("the store's URL names no database: {form}");
        return Err(StoreError::new(StoreErrorKind::Configuration, what));
    }
    Ok(settings)
}

async fn open(settings: MySqlConnectOptions) -> Result<MySqlPool, sqlx::Error> {
    // A pool asks a server that is down until its patience ends, and then says only that it had no connection.
    settings.connect().await?.close().await?;
    let pool = MySqlPoolOptions::new()
        .acquire_timeout(Duration::from_secs(TURN_SECONDS))
        .test_before_acquire(false)
        .before_acquire(|connection, meta| Box::pin(is_sound(connection, meta.idle_for)))
        // Whatever is open when a connection comes back would keep its locks until somebody takes that connection again.
        .after_release(|connection, _| Box::pin(is_free(connection)))
        .connect_lazy_with(settings);
    Ok(pool)
}

/// Whether a connection may be given out. One that sqlx believes to be in a transaction refuses every later begin: such a one is thrown
/// away. One that has lain idle is asked whether it is still there; one that was used just now is not: each statement would pay
/// for the question.
async fn is_sound(connection: &mut MySqlConnection, idle_for: Duration) -> Result<bool, sqlx::Error> {
    Ok(depth(connection) == 0 && (idle_for <= TRUSTED || connection.ping().await.is_ok()))
}

/// Ends a transaction that sqlx does not know of: where a future is dropped that begins one, the server begins it all the same.
pub(super) const UNDO: &str = "ROLLBACK; ";

/// Whether a connection that comes back is in no transaction, when all is done that was asked for by dropping something, and
/// whether it is in step. Where an error was the answer to what was dropped, sqlx waits for another one that never comes.
async fn is_free(connection: &mut MySqlConnection) -> Result<bool, sqlx::Error> {
    match tokio::time::timeout(ANSWER, is_in_step(connection, UNDO)).await {
        Ok(is_in_step) => Ok(is_in_step? && depth(connection) == 0),
        Err(_) => Ok(false),
    }
}

/// Runs statements, and tells whether their answer is theirs: sqlx loses count of the answers where a future was dropped in
/// the middle of a ping, or while a statement was prepared, and then takes each for that of the next statement. A number that
/// nobody else has asked for tells.
pub(super) async fn is_in_step(connection: &mut MySqlConnection, statements: &str) -> Result<bool, sqlx::Error> {
    let number = odd_number();
    let text = AssertSqlSafe(format!("{statements}SELECT {number}"));
    // It may take an answer for one of another shape, and fall over that.
    let answers = AssertUnwindSafe(sqlx::raw_sql(text).fetch_all(connection)).catch_unwind().await;
    let Ok(answers) = answers else { return Ok(false) };
    Ok(is_answered(&answers?, number))
}

/// A number that nobody else asks for.
pub(super) fn odd_number() -> i64 {
    i64::from(Uuid::new_v4().as_fields().0)
}

/// Whether rows are the answer to `SELECT` and this number.
pub(super) fn is_answered(answers: &[MySqlRow], number: i64) -> bool {
    let [answer] = answers else { return false };
    answer.try_get::<i64, _>(0).is_ok_and(|answered| answered == number)
}

fn is_mariadb(version: &str) -> bool {
    version.contains("MariaDB")
}

/// Reads `10.11.6-MariaDB-0+deb12u1`, `5.5.5-10.11.6-MariaDB` (as some servers say it to old clients) and `8.0.36`.
fn is_new_enough(version: &str) -> bool {
    let (version, oldest) = if is_mariadb(version) {
        (version.strip_prefix("5.5.5-").unwrap_or(version), OLDEST_MARIADB)
    } else {
        (version, OLDEST_MYSQL)
    };
    let mut numbers = version.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    // What cannot be read is let through: a server of a third kind says itself what it cannot do.
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) => (major, minor) >= oldest,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_without_skip_locked_are_told_from_others() {
        for new in ["10.11.6-MariaDB-0+deb12u1", "5.5.5-10.6.1-MariaDB", "11.4.2-MariaDB", "8.0.36", "9.1.0", "odd"] {
            assert!(is_new_enough(new), "{new}");
        }
        for old in ["10.5.20-MariaDB", "5.5.5-10.3.39-MariaDB", "5.7.44-log"] {
            assert!(!is_new_enough(old), "{old}");
        }
    }

    #[test]
    fn a_url_that_is_wrong_is_refused_without_its_password() {
        for url in ["mysql://root:hush@localhost", "mysql://root:hush@localhost:port/shop"] {
            let error = parse(url).unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Configuration);
            assert!(!format!("{error:?}").contains("hush"), "{error:?}");
        }
    }
}
