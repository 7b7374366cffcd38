//! On PostgreSQL.

use cqrs::Tx;
use cqrs::sqlx::{self, PgPool, Postgres, Row, Transaction};

use super::{Drained, Tables};
use crate::Result;

const BY_HAND: &str = "
CREATE TABLE by_hand (seq BIGINT PRIMARY KEY, topic TEXT, message_key TEXT, payload BYTEA, headers TEXT)";

const FILL: &str = "
INSERT INTO cqrs_outbox (id, name, version, topic, message_key, payload, headers, raised_at, due_at, shard)
SELECT gen_random_uuid(), name, version, topic, message_key, payload, headers, raised_at, due_at, shard
FROM templates ORDER BY seq LIMIT $1";

/// Any number of rows: the templates, over and over.
const FILL_MANY: &str = "
INSERT INTO cqrs_outbox (id, name, version, topic, message_key, payload, headers, raised_at, due_at, shard)
SELECT gen_random_uuid(), name, version, topic, message_key, payload, headers, raised_at, due_at, shard
FROM generate_series(1, $1 / (SELECT count(*) FROM templates)) AS again (number) CROSS JOIN templates";

const FILL_BY_HAND: &str = "
INSERT INTO by_hand SELECT seq, topic, message_key, payload, headers FROM templates ORDER BY seq LIMIT $1";

const DRAIN: &str = "
DELETE FROM by_hand WHERE seq = ANY (ARRAY(SELECT seq FROM by_hand ORDER BY seq LIMIT $1 FOR UPDATE SKIP LOCKED))
RETURNING seq, message_key, payload, headers";

const LAST: &str = "SELECT seq FROM cqrs_outbox ORDER BY seq DESC LIMIT 1";

/// In the schema of a pool.
#[derive(Debug)]
pub struct OnPostgres(pub PgPool);

impl Tables for OnPostgres {
    type Db = Postgres;

    async fn set_up(&self) -> Result<()> {
        for statement in ["CREATE TABLE templates AS SELECT * FROM cqrs_outbox", "TRUNCATE cqrs_outbox", BY_HAND] {
            sqlx::query(statement).execute(&self.0).await?;
        }
        Ok(())
    }

    async fn fill(&self, tx: &mut Tx<Postgres>, rows: u32) -> Result<()> {
        sqlx::query(FILL).bind(i64::from(rows)).execute(&mut **tx).await?;
        Ok(())
    }

    async fn fill_by_hand(&self, rows: u32) -> Result<()> {
        sqlx::query(FILL_BY_HAND).bind(i64::from(rows)).execute(&self.0).await?;
        Ok(())
    }

    async fn drain(&self, most: i64) -> Result<(Transaction<'static, Postgres>, Vec<Drained>)> {
        let mut tx = self.0.begin().await?;
        let rows = sqlx::query(DRAIN).bind(most).fetch_all(&mut *tx).await?;
        let read = |row: &sqlx::postgres::PgRow| {
            let (seq, key) = (row.try_get("seq")?, row.try_get("message_key")?);
            Ok(Drained { seq, key, payload: row.try_get("payload")?, headers: row.try_get("headers")? })
        };
        let rows = rows.iter().map(read).collect::<Result<_>>()?;
        Ok((tx, rows))
    }

    async fn is_empty(&self) -> Result<bool> {
        Ok(sqlx::query_scalar::<_, i64>(LAST).fetch_optional(&self.0).await?.is_none())
    }
}

impl OnPostgres {
    /// Fills the outbox with the templates over and over: as many rows as go into so many. Nobody is woken.
    ///
    /// # Errors
    /// Fails with what the database said.
    pub async fn fill_many(&self, rows: i64) -> Result<u64> {
        Ok(sqlx::query(FILL_MANY).bind(rows).execute(&self.0).await?.rows_affected())
    }

    /// Keeps so many templates, and no others.
    ///
    /// # Errors
    /// Fails with what the database said.
    pub async fn keep(&self, rows: u32) -> Result<()> {
        let others = "DELETE FROM templates WHERE seq NOT IN (SELECT seq FROM templates ORDER BY seq LIMIT $1)";
        sqlx::query(others).bind(i64::from(rows)).execute(&self.0).await?;
        Ok(())
    }
}
