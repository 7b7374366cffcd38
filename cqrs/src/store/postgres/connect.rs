//! From a URL or a pool of the user's to an open store.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection, PgPool};
use uuid::Uuid;

use super::leases::Leases;
use super::{PostgresStore, migrate, transaction};
use crate::store::names::Names;
use crate::store::shards::Desk;
use crate::store::url::Source;
use crate::store::{Store, StoreError, StoreErrorKind};

/// For how long a connection is trusted that nobody uses.
const TRUSTED: Duration = Duration::from_secs(1);

impl PostgresStore {
    /// Connects.
    ///
    /// # Errors
    /// Fails where the URL cannot be understood, the server cannot be reached or does not let this user in, or a name is none.
    pub(crate) async fn connect(store: Store) -> Result<Self, StoreError> {
        let Store { source, migrator, options } = store;
        let names = Names::new(options.prefix.as_deref(), options.schema.as_deref())?;
        let (pool, is_lent) = match source {
            Source::Url(url) => (open(&url).await?, false),
            Source::Pool { pool, type_name } => {
                (pool.downcast_ref::<PgPool>().cloned().ok_or_else(|| foreign(type_name))?, true)
            }
            Source::Driver(_) => return Err(foreign("Driver")),
        };
        Ok(Self {
            pool,
            is_lent,
            migrator: migrator.map(migrate::adopted),
            names: Arc::new(names),
            me: Uuid::now_v7().to_string(),
            claiming: tokio::sync::Mutex::new(None),
            desk: Mutex::new(Desk::default()),
            leases: Mutex::new(Leases::default()),
        })
    }
}

fn foreign(type_name: &str) -> StoreError {
    let what = format!("the PostgreSQL store takes a URL or a `PgPool`, not a `{type_name}`");
    StoreError::new(StoreErrorKind::Configuration, what)
}

/// Opens a pool, and looks at once whether the server is there: a pool on its own would tell the first one who asks.
async fn open(url: &str) -> Result<PgPool, StoreError> {
    // Not repeated in the text: it may hold a password.
    let options: PgConnectOptions = url.parse().map_err(|error: sqlx::Error| {
        let what = "the store's URL is wrong: write `postgres://user:password@host:5432/database`";
        StoreError::new(StoreErrorKind::Configuration, what).with_source(error)
    })?;
    options.connect().await?.close().await?;
    let pool = PgPoolOptions::new()
        .test_before_acquire(false)
        .before_acquire(|connection, meta| Box::pin(is_sound(connection, meta.idle_for)))
        .connect_lazy_with(options);
    Ok(pool)
}

/// Whether a connection may be given out. Where a future was dropped just while it ended a savepoint, sqlx may take a connection to be
/// in a transaction: closing rolls back what may be open. One that has lain idle is asked whether it is still there; one that was
/// used just now is not: each statement would pay for the question.
async fn is_sound(connection: &mut PgConnection, idle_for: Duration) -> Result<bool, sqlx::Error> {
    if transaction::depth(connection) > 0 {
        return Ok(false);
    }
    Ok(idle_for <= TRUSTED || connection.ping().await.is_ok())
}
