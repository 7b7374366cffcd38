//! Words to other processes, by NOTIFY.

use futures_core::stream::BoxStream;
use futures_util::stream;
use sqlx::postgres::{PgListener, PgPoolOptions};
use sqlx::{AssertSqlSafe, PgPool, SqlSafeStr};

use crate::store::driver::{BoxFuture, Notices};
use crate::store::{StoreError, StoreErrorKind};

/// A channel of a database.
pub(super) struct Channel {
    pool: PgPool,
    name: String,
}

impl Channel {
    pub(super) fn new(pool: PgPool, name: String) -> Self {
        Self { pool, name }
    }

    /// A connection beside the pool: listening takes one for good, and a pool may have no other.
    async fn listener(&self) -> Result<PgListener, sqlx::Error> {
        let pool = PgPoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
        let pool = pool.connect_lazy_with((*self.pool.connect_options()).clone());
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.eager_reconnect(false);
        listener.listen(&self.name).await?;
        Ok(listener)
    }
}

impl Notices for Channel {
    /// Not prepared: a pooler that lends connections for one transaction may not have the statement where it is used.
    fn announce(&self, word: String) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let statement = format!("SELECT pg_notify('{}', '{}')", self.name, word.replace('\'', "''"));
            sqlx::raw_sql(AssertSqlSafe(statement).into_sql_str()).execute(&self.pool).await?;
            Ok(())
        })
    }

    fn listen(&self) -> BoxFuture<'_, Result<BoxStream<'static, Result<String, StoreError>>, StoreError>> {
        Box::pin(async move {
            let words = stream::unfold(Some(self.listener().await?), async |listener| {
                let mut listener = listener?;
                match listener.try_recv().await {
                    Ok(Some(notice)) => Some((Ok(notice.payload().to_owned()), Some(listener))),
                    Ok(None) => Some((Err(lost()), None)),
                    Err(error) => Some((Err(error.into()), None)),
                }
            });
            Ok(Box::pin(words) as BoxStream<'static, _>)
        })
    }
}

fn lost() -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, "the connection that listens for notices was lost")
}
