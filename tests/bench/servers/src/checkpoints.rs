//! The checkpoints of a saga of three steps by hand, on PostgreSQL: into tables with the columns and indexes of ours, a statement each.

use std::future::Future;
use std::time::SystemTime;

use cqrs::sqlx::postgres::{PgArguments, PgPoolOptions};
use cqrs::sqlx::query::Query;
use cqrs::sqlx::{self, PgPool, Postgres};
use serde::Serialize;

use crate::Result;

/// A statement that makes a checkpoint.
pub type Checkpoint = Query<'static, Postgres, PgArguments>;

const START: &str = "
WITH saga AS (
    INSERT INTO by_hand_sagas (id, name, version, phase, context, digest, headers, owner, lease_until, started_at, changed_at)
    VALUES ($1, 'order', 1, 'forward', $2, $3, '{}', 'bench', $4, $4, $4))
INSERT INTO by_hand_steps (saga, step, progress, attempt, in_doubt) VALUES ($1, 'reserve', 'running', 1, FALSE)";

const STEP: &str = "
WITH saga AS (
    UPDATE by_hand_sagas SET context = $2, changed_at = $3, logged = logged + 1 WHERE id = $1 AND fence = 1 RETURNING id),
steps AS (
    INSERT INTO by_hand_steps (saga, step, progress, attempt, in_doubt)
    SELECT id, $4, 'done', 0, FALSE FROM saga UNION ALL SELECT id, $5, 'running', 1, FALSE FROM saga
    ON CONFLICT (saga, step) DO UPDATE SET progress = excluded.progress, attempt = excluded.attempt)
INSERT INTO by_hand_log (saga, number, step, is_undo, attempt, began_at, ended_at, progress)
SELECT id, $6, $4, FALSE, 1, $3, $3, 'done' FROM saga";

const END: &str = "
WITH saga AS (
    UPDATE by_hand_sagas SET context = $2, changed_at = $3, logged = logged + 1, phase = 'completed', owner = NULL, lease_until = NULL,
        ended_at = $3 WHERE id = $1 AND fence = 1 RETURNING id),
steps AS (
    INSERT INTO by_hand_steps (saga, step, progress, attempt, in_doubt) SELECT id, $4, 'done', 0, FALSE FROM saga
    ON CONFLICT (saga, step) DO UPDATE SET progress = excluded.progress, attempt = excluded.attempt)
INSERT INTO by_hand_log (saga, number, step, is_undo, attempt, began_at, ended_at, progress)
SELECT id, 3, $4, FALSE, 1, $3, $3, 'done' FROM saga";

fn now() -> Result<i64> {
    Ok(i64::try_from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_micros())?)
}

/// It has begun.
///
/// # Errors
/// Fails where the context is no JSON, or the clock is wrong.
pub fn begin(id: &str, context: &impl Serialize) -> Result<Checkpoint> {
    let begin = sqlx::query(START).bind(id.to_owned()).bind(serde_json::to_vec(context)?);
    Ok(begin.bind(&[0_u8; 32][..]).bind(now()?))
}

/// A step has ended, the next one begins.
///
/// # Errors
/// As [`begin`].
pub fn step(
    id: &str,
    context: &impl Serialize,
    step: &'static str,
    next: &'static str,
    number: i32,
) -> Result<Checkpoint> {
    let end = sqlx::query(STEP).bind(id.to_owned()).bind(serde_json::to_vec(context)?).bind(now()?);
    Ok(end.bind(step).bind(next).bind(number))
}

/// The last step has ended, and so has the saga.
///
/// # Errors
/// As [`begin`].
pub fn end(id: &str, context: &impl Serialize) -> Result<Checkpoint> {
    Ok(sqlx::query(END).bind(id.to_owned()).bind(serde_json::to_vec(context)?).bind(now()?).bind("ship"))
}

/// How many transactions that write something each call takes.
///
/// # Errors
/// Fails when a call does.
pub async fn commits<F: Future<Output = Result<()>>>(pool: &PgPool, call: impl Fn() -> F) -> Result<f64> {
    const CALLS: u32 = 100;
    let number = async || -> Result<i64> {
        Ok(sqlx::query_scalar("SELECT CAST(pg_snapshot_xmax(pg_current_snapshot())::text AS BIGINT)")
            .fetch_one(pool)
            .await?)
    };
    let before = number().await?;
    for _ in 0..CALLS {
        call().await?;
    }
    let transactions = u32::try_from(number().await? - before)?;
    Ok(f64::from(transactions) / f64::from(CALLS))
}

/// Two pools of so many connections on a schema of its own.
///
/// # Errors
/// Fails with what the database said.
pub async fn pools(admin: &PgPool, schema: &str, connections: u32) -> Result<(PgPool, PgPool)> {
    let options = (*admin.connect_options()).clone().options([("search_path", schema)]);
    let pool =
        |options| PgPoolOptions::new().max_connections(connections).test_before_acquire(false).connect_with(options);
    Ok((pool(options.clone()).await?, pool(options).await?))
}

/// Tables like ours, where those are.
///
/// # Errors
/// Fails with what the database said.
pub async fn tables(plain: &PgPool) -> Result<()> {
    for (table, like) in
        [("by_hand_sagas", "cqrs_sagas"), ("by_hand_steps", "cqrs_saga_steps"), ("by_hand_log", "cqrs_saga_log")]
    {
        let create = format!("CREATE TABLE {table} (LIKE {like} INCLUDING ALL)");
        sqlx::query(sqlx::AssertSqlSafe(create)).execute(plain).await?;
    }
    Ok(())
}
