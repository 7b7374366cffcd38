//! A database of a test's own.

use std::fmt;

use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, MySqlPool};
use uuid::Uuid;

use crate::store::url::Source;
use crate::store::{Store, StoreError, StoreErrorKind};

/// A database, dropped with everything in it when this is dropped.
pub(crate) struct Scratch {
    name: String,
    options: MySqlConnectOptions,
}

impl Scratch {
    /// Makes a database on the server that a URL or a pool names, and names a store in it.
    ///
    /// # Errors
    /// Fails where the server cannot be reached, or does not let this user create a database.
    pub(crate) async fn new(source: &Source) -> Result<(Store, Self), StoreError> {
        let options = match source {
            Source::Url(url) => super::connect::parse(url)?,
            Source::Pool { pool, .. } => match pool.downcast_ref::<MySqlPool>() {
                Some(pool) => pool.connect_options().as_ref().clone(),
                None => return Err(foreign()),
            },
            Source::Driver(_) => return Err(foreign()),
        };
        let name = format!("cqrs_test_{}", Uuid::now_v7().simple());
        let mut connection = options.connect().await?;
        connection.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await?;
        connection.close().await?;
        let own = options.clone().database(&name);
        Ok((Store::pool(MySqlPoolOptions::new().connect_lazy_with(own)), Self { name, options }))
    }
}

fn foreign() -> StoreError {
    StoreError::new(StoreErrorKind::Configuration, "a test's own database is made from a URL or a `MySqlPool`")
}

/// On a thread of its own: the runtime of the test may be on its way out. Whoever is still connected is disconnected first, since he
/// may hold locks that nobody would wait for in vain.
impl Drop for Scratch {
    fn drop(&mut self) {
        let (name, options) = (self.name.clone(), self.options.clone());
        let dropping = std::thread::spawn(move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
            if let Err(error) = runtime.block_on(remove(&options, &name)) {
                tracing::warn!(%error, "the database of a test could not be dropped");
            }
        });
        let _ = dropping.join();
    }
}

async fn remove(options: &MySqlConnectOptions, name: &str) -> Result<(), sqlx::Error> {
    let mut connection = options.connect().await?;
    let sql = "SELECT CAST(id AS SIGNED) FROM information_schema.processlist WHERE db = ?";
    let connected: Vec<i64> = sqlx::query_scalar(sql).bind(name).fetch_all(&mut connection).await?;
    for id in connected {
        // It may have gone meanwhile.
        let _ = connection.execute(AssertSqlSafe(format!("KILL {id}"))).await;
    }
    connection.execute(AssertSqlSafe(format!("DROP DATABASE IF EXISTS {name}"))).await?;
    connection.close().await
}

impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scratch").field("name", &self.name).finish_non_exhaustive()
    }
}
