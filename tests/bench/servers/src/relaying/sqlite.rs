//! On SQLite.

use cqrs::Tx;
use cqrs::sqlx::{self, Row, Sqlite, SqlitePool, Transaction};

use super::{Drained, Tables};
use crate::Result;

const BY_HAND: &str = "
CREATE TABLE by_hand (seq INTEGER PRIMARY KEY, topic TEXT, message_key TEXT, payload BLOB, headers TEXT)";

const FILL: &str = "
INSERT INTO cqrs_outbox (id, name, version, topic, message_key, payload, headers, raised_at, due_at)
SELECT randomblob(16), name, version, topic, message_key, payload, headers, raised_at, due_at
FROM templates ORDER BY seq LIMIT ?";

const FILL_BY_HAND: &str = "
INSERT INTO by_hand SELECT seq, topic, message_key, payload, headers FROM templates ORDER BY seq LIMIT ?";

const DRAIN: &str = "
DELETE FROM by_hand WHERE seq IN (SELECT seq FROM by_hand ORDER BY seq LIMIT ?)
RETURNING seq, message_key, payload, headers";

const LAST: &str = "SELECT seq FROM cqrs_outbox ORDER BY seq DESC LIMIT 1";

/// In the file of a pool.
#[derive(Debug)]
pub struct OnSqlite(pub SqlitePool);

impl Tables for OnSqlite {
    type Db = Sqlite;

    async fn set_up(&self) -> Result<()> {
        for statement in ["CREATE TABLE templates AS SELECT * FROM cqrs_outbox", "DELETE FROM cqrs_outbox", BY_HAND] {
            sqlx::query(statement).execute(&self.0).await?;
        }
        Ok(())
    }

    async fn fill(&self, tx: &mut Tx<Sqlite>, rows: u32) -> Result<()> {
        sqlx::query(FILL).bind(rows).execute(&mut **tx).await?;
        Ok(())
    }

    async fn fill_by_hand(&self, rows: u32) -> Result<()> {
        sqlx::query(FILL_BY_HAND).bind(rows).execute(&self.0).await?;
        Ok(())
    }

    async fn drain(&self, most: i64) -> Result<(Transaction<'static, Sqlite>, Vec<Drained>)> {
        let mut tx = self.0.begin_with("BEGIN IMMEDIATE").await?;
        let rows = sqlx::query(DRAIN).bind(most).fetch_all(&mut *tx).await?;
        let read = |row: &sqlx::sqlite::SqliteRow| {
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
