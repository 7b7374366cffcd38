//! From a URL or a pool of the user's to an open store.

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgPool};
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
    // Where a future was dropped just while it ended a savepoint, sqlx may take a connection to be in a transaction: closing it rolls
    // back what may be open. Each is asked whether it is still there: a database that was restarted fails no call after that.
    let pool = PgPoolOptions::new()
        .before_acquire(|connection, _| Box::pin(std::future::ready(Ok(transaction::depth(connection) == 0))))
        .connect_lazy_with(options);
    Ok(pool)
}
