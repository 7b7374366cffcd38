//! On MariaDB.

use cqrs::Tx;
use cqrs::sqlx::{self, MySql, MySqlPool, Row, Transaction};

use super::{Drained, Tables};
use crate::Result;

const BY_HAND: &str = "
CREATE TABLE by_hand (seq BIGINT PRIMARY KEY, topic BLOB, message_key BLOB, payload BLOB, headers BLOB)";

const FILL: &str = "
INSERT INTO cqrs_outbox (id, name, version, topic, message_key, lane, shard, payload, headers, raised_at, due_at)
SELECT RANDOM_BYTES(16), name, version, topic, message_key, lane, shard, payload, headers, raised_at, due_at
FROM templates ORDER BY seq LIMIT ?";

const FILL_BY_HAND: &str = "
INSERT INTO by_hand SELECT seq, topic, message_key, payload, headers FROM templates ORDER BY seq LIMIT ?";

const DRAIN: &str = "DELETE FROM by_hand ORDER BY seq LIMIT ? RETURNING seq, message_key, payload, headers";

const LAST: &str = "SELECT seq FROM cqrs_outbox ORDER BY seq DESC LIMIT 1";

/// In the database of a pool.
#[derive(Debug)]
pub struct OnMariaDb(pub MySqlPool);

impl Tables for OnMariaDb {
    type Db = MySql;

    async fn set_up(&self) -> Result<()> {
        for statement in ["CREATE TABLE templates AS SELECT * FROM cqrs_outbox", "TRUNCATE cqrs_outbox", BY_HAND] {
            sqlx::query(statement).execute(&self.0).await?;
        }
        Ok(())
    }

    async fn fill(&self, tx: &mut Tx<MySql>, rows: u32) -> Result<()> {
        sqlx::query(FILL).bind(rows).execute(&mut **tx).await?;
        Ok(())
    }

    async fn fill_by_hand(&self, rows: u32) -> Result<()> {
        sqlx::query(FILL_BY_HAND).bind(rows).execute(&self.0).await?;
        Ok(())
    }

    async fn drain(&self, most: i64) -> Result<(Transaction<'static, MySql>, Vec<Drained>)> {
        let mut tx = self.0.begin().await?;
        let rows = sqlx::query(DRAIN).bind(most).fetch_all(&mut *tx).await?;
        let text =
            |row: &sqlx::mysql::MySqlRow, column| -> Result<String> { Ok(String::from_utf8(row.try_get(column)?)?) };
        let read = |row: &sqlx::mysql::MySqlRow| {
            let (seq, key) = (row.try_get("seq")?, text(row, "message_key")?);
            Ok(Drained { seq, key, payload: row.try_get("payload")?, headers: text(row, "headers")? })
        };
        let rows = rows.iter().map(read).collect::<Result<_>>()?;
        Ok((tx, rows))
    }

    async fn is_empty(&self) -> Result<bool> {
        Ok(sqlx::query_scalar::<_, i64>(LAST).fetch_optional(&self.0).await?.is_none())
    }
}
