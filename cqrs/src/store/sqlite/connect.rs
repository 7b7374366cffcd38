//! From a URL or a pool of the user's to an open store.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::AtomicI64;
use std::time::{Duration, Instant};

use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection, SqlitePool};
use uuid::Uuid;

use super::fault::{Place, TURN_SECONDS, primary_code};
use super::transaction::{Undone, depth};
use super::{BEGIN, SqliteStore};
use crate::store::desk::Desk;
use crate::store::url::{Source, StoreOptions};
use crate::store::{Store, StoreError, StoreErrorKind};

/// How often a lock that SQLite does not wait for is asked for again.
const ASK_AGAIN: Duration = Duration::from_millis(20);

const TURN: Duration = Duration::from_secs(TURN_SECONDS);

impl SqliteStore {
    /// Connects.
    ///
    /// # Errors
    /// Each names the file and the mend: the directory does not exist, the file is read-only, locked by another process
    /// or no database, the URL cannot be understood or names a database in memory.
    pub(crate) async fn connect(store: Store) -> Result<Self, StoreError> {
        let Store { source, migrator, options } = store;
        match source {
            Source::Url(url) => {
                let settings = parse(&url, &options)?;
                let place = Place::new(settings.get_filename());
                prepare(&settings).await.map_err(|error| place.explain(error))?;
                let undone = Undone::new(true);
                let (pool, writer) = (pool(settings.clone()), writer(settings, undone.clone()));
                Ok(Self::new(pool, writer, false, undone, migrator, place))
            }
            Source::Pool { pool, type_name } => {
                let pool = pool.downcast_ref::<SqlitePool>().cloned().ok_or_else(|| foreign(type_name))?;
                let place = Place::new(pool.connect_options().get_filename());
                Ok(Self::new(pool.clone(), pool, true, Undone::new(false), migrator, place))
            }
            Source::Driver(_) => Err(foreign("Driver")),
        }
    }

    fn new(
        pool: SqlitePool,
        writer: SqlitePool,
        is_lent: bool,
        undone: Undone,
        migrator: Option<Migrator>,
        place: Place,
    ) -> Self {
        Self {
            pool,
            writer,
            is_lent,
            undone,
            migrator,
            place,
            me: Uuid::now_v7().to_string(),
            claiming: tokio::sync::Mutex::default(),
            desk: Mutex::new(Desk::default()),
            started_over: AtomicI64::new(0),
        }
    }
}

fn foreign(type_name: &str) -> StoreError {
    let what = format!("the SQLite store takes a URL or a `SqlitePool`, not a `{type_name}`");
    StoreError::new(StoreErrorKind::Configuration, what)
}

fn parse(url: &str, options: &StoreOptions) -> Result<SqliteConnectOptions, StoreError> {
    refuse_memory(url)?;
    let settings: SqliteConnectOptions = url.parse().map_err(|error: sqlx::Error| {
        let what = format!("the store's URL `{url}` is wrong: write `sqlite://shop.db` or `sqlite:///var/lib/shop.db`");
        StoreError::new(StoreErrorKind::Configuration, what).with_source(error)
    })?;
    // FULL is SQLite's own default, said aloud. In WAL mode NORMAL would do for a process that is killed, but a power
    // loss takes back the last commits, and this store answers for them to others: a broker has been told by then that
    // a message was handled, and does not bring it again.
    let synchronous = if options.synchronous_off { SqliteSynchronous::Off } else { SqliteSynchronous::Full };
    // `mode=ro` stays what it says: `create_if_missing` would be ignored beside it.
    Ok(settings.create_if_missing(true).foreign_keys(true).busy_timeout(TURN).synchronous(synchronous))
}

/// A database in memory belongs to one connection, or with a shared cache locks whole tables without any timeout; and
/// it is gone with the process, which is what a store is there to outlive.
fn refuse_memory(url: &str) -> Result<(), StoreError> {
    let address = url.strip_prefix("sqlite:").unwrap_or(url).trim_start_matches("//");
    let (file, parameters) = address.split_once('?').unwrap_or((address, ""));
    if !file.is_empty() && file != ":memory:" && !parameters.contains("mode=memory") {
        return Ok(());
    }
    let what = format!(
        "the store's URL `{url}` names no file: a database in memory is a separate one for every \
         connection and gone with the process; name a file, `sqlite://shop.db`, in tests one in a temporary directory"
    );
    Err(StoreError::new(StoreErrorKind::Configuration, what))
}

/// Creates the file, turns WAL on, and finds out whether the file can be written, before anything relies on it.
async fn prepare(settings: &SqliteConnectOptions) -> Result<(), sqlx::Error> {
    let begun = Instant::now();
    loop {
        match try_prepare(settings).await {
            // Turning WAL on needs the file alone, and SQLite fails at once, whatever the busy timeout, when another
            // process does the same: a second instance starting beside this one.
            Err(error) if primary_code(&error) == Some(5) && begun.elapsed() < TURN => {
                tokio::time::sleep(ASK_AGAIN).await;
            }
            end => return end,
        }
    }
}

async fn try_prepare(settings: &SqliteConnectOptions) -> Result<(), sqlx::Error> {
    // Asked again by the caller, rather than by SQLite, which does not wait for every kind of lock.
    let mut connection = settings.clone().busy_timeout(Duration::ZERO).connect().await?;
    let end = try_write(&mut connection, settings.get_filename()).await;
    // Closed rather than dropped: a dropped connection is closed some time later, and would still lock the file.
    connection.close().await?;
    end
}

async fn try_write(connection: &mut SqliteConnection, file: &Path) -> Result<(), sqlx::Error> {
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode = WAL").fetch_one(&mut *connection).await?;
    if !mode.eq_ignore_ascii_case("wal") {
        tracing::warn!(file = %file.display(), mode, "SQLite cannot use WAL here: readers will wait for writers");
    }
    match connection.begin_with(BEGIN).await {
        // On a read-only file SQLite lets it begin all the same, and refuses the first statement that writes.
        Ok(mut tx) => {
            sqlx::query("CREATE TABLE _cqrs_may_write (n INTEGER)").execute(&mut *tx).await?;
            tx.rollback().await
        }
        // Somebody else writes, so the file can be written; perhaps for long, with migrations to run.
        Err(error) if primary_code(&error) == Some(5) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The pool that is given out: any number of readers, which in WAL mode nobody disturbs.
fn pool(settings: SqliteConnectOptions) -> SqlitePool {
    settled(SqlitePoolOptions::new()).connect_lazy_with(settings)
}

/// The one connection of this process that units of work write through. SQLite has one writer at a time; with several
/// connections the others would sleep and ask again, up to 100 ms late and in no order. A pool of one is a fair queue.
fn writer(settings: SqliteConnectOptions, undone: Undone) -> SqlitePool {
    settled(SqlitePoolOptions::new())
        .max_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .acquire_timeout(TURN)
        .after_connect(move |connection, _| {
            let undone = undone.clone();
            Box::pin(async move {
                connection.lock_handle().await?.set_rollback_hook(move || undone.note());
                Ok(())
            })
        })
        .connect_lazy_with(settings)
}

fn settled(options: SqlitePoolOptions) -> SqlitePoolOptions {
    options
        // There is no server that could have hung up: a look at the depth (below) replaces the question.
        .test_before_acquire(false)
        // SQLite itself rolls back on a full disk or `ON CONFLICT ROLLBACK`. sqlx does not see that, believes the
        // transaction open for ever, and refuses every later begin on the connection: such a one is thrown away.
        .before_acquire(|connection, _| Box::pin(std::future::ready(Ok(depth(connection) == 0))))
        // Whatever is open when a connection comes back would keep the lock until somebody takes that connection again.
        .after_release(|connection, _| Box::pin(is_free(connection)))
}

/// Whether a connection that comes back is in no transaction, when all is done that was asked for by dropping something.
async fn is_free(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    if depth(connection) > 0 {
        connection.ping().await?;
    }
    Ok(depth(connection) == 0)
}
