//! From a URL or a pool of the user's to an open store.

use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgTransactionManager as Manager};
use sqlx::{ConnectOptions, Connection, PgConnection, PgPool, SqlSafeStr};
use sqlx_core::transaction::TransactionManager;
use std::sync::{Arc, Mutex};
use uuid::Uuid;

use super::inbox::Grown;
use super::leases::Leases;
use super::{PostgresStore, migrate, transaction};
use crate::store::desk::Desk;
use crate::store::names::Names;
use crate::store::url::Source;
use crate::store::{Store, StoreError, StoreErrorKind};

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
        let channel = names.channel();
        Ok(Self {
            pool,
            is_lent,
            migrator: migrator.map(migrate::adopted),
            names: Arc::new(names),
            me: Uuid::now_v7().to_string(),
            claiming: tokio::sync::Mutex::default(),
            desk: Mutex::new(Desk::default()),
            leases: Mutex::new(Leases::default()),
            grown: Grown::default(),
            channel: options.notify.unwrap_or_default().then_some(channel),
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
    // Whether it is still there is answered along: a database that was restarted fails no call after that.
    let pool = PgPoolOptions::new()
        .test_before_acquire(false)
        .before_acquire(|connection, _| Box::pin(is_free(connection)))
        .connect_lazy_with(options);
    Ok(pool)
}

/// Whether a connection is in no transaction, as sqlx has it and as the server has it. They disagree where a future was dropped that
/// began one, or ended a savepoint. Closing the connection rolls back what is open.
pub(super) async fn is_free(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    if transaction::depth(connection) > 0 {
        return Ok(false);
    }
    // Each answer of the server's says whether it is in a transaction, and this is how sqlx tells: it finds that a statement without
    // anything in it has begun none, or that there is one.
    match Manager::begin(connection, Some("".into_sql_str())).await {
        Ok(()) => Ok(false),
        Err(sqlx::Error::BeginFailed) => Ok(true),
        Err(error) => Err(error),
    }
}
