//! A schema of a test's own.

use std::fmt;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgPool};
use uuid::Uuid;

use crate::store::url::Source;
use crate::store::{Store, StoreError, StoreErrorKind};

/// A schema, dropped with everything in it when this is dropped.
pub(crate) struct Scratch {
    name: String,
    options: PgConnectOptions,
}

impl Scratch {
    /// Makes a schema in the database that a URL or a pool names, and names a store in it.
    ///
    /// # Errors
    /// Fails where the database cannot be reached, or does not let this user create a schema.
    pub(crate) async fn new(source: &Source) -> Result<(Store, Self), StoreError> {
        let options = match source {
            Source::Url(url) => url.parse::<PgConnectOptions>()?,
            Source::Pool { pool, .. } => match pool.downcast_ref::<PgPool>() {
                Some(pool) => pool.connect_options().as_ref().clone(),
                None => return Err(foreign()),
            },
            Source::Driver(_) => return Err(foreign()),
        };
        let name = format!("cqrs_test_{}", Uuid::now_v7().simple());
        let mut connection = options.connect().await?;
        connection.execute(sqlx::raw_sql(AssertSqlSafe(format!("CREATE SCHEMA {name}")))).await?;
        connection.close().await?;
        let own = options.clone().options([("search_path", name.as_str())]).application_name(&name);
        Ok((Store::pool(PgPoolOptions::new().connect_lazy_with(own)), Self { name, options }))
    }
}

fn foreign() -> StoreError {
    StoreError::new(StoreErrorKind::Configuration, "a test's own schema is made from a URL or a `PgPool`")
}

/// On a thread of its own: the runtime of the test may be on its way out. Whoever is still connected is disconnected first, since he
/// may hold locks that nobody would wait for in vain.
impl Drop for Scratch {
    fn drop(&mut self) {
        let sql = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{0}'; \
             DROP SCHEMA IF EXISTS {0} CASCADE",
            self.name
        );
        let options = self.options.clone();
        let dropping = std::thread::spawn(move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
            let dropped = runtime.block_on(async {
                let mut connection = options.connect().await?;
                connection.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await
            });
            if let Err(error) = dropped {
                tracing::warn!(%error, "the schema of a test could not be dropped");
            }
        });
        let _ = dropping.join();
    }
}

impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scratch").field("name", &self.name).finish_non_exhaustive()
    }
}
