//! A saga of three steps on PostgreSQL beside the same checkpoints by hand: `saga.postgres`, and `saga.postgres.8` for eight at once.
//!
//! Both write the saga's row when it begins and after each step, the rows of the steps and those of the log, into tables with the
//! same columns and indexes, through a pool of as many connections. By hand each checkpoint is one statement, and nobody waits for it
//! but the loop itself. `commits` is how many transactions that write one saga of ours takes.

use std::future::Future;
use std::time::SystemTime;

use bench_servers::booking::{at_once, rounds};
use bench_servers::{Arguments, Result, drop_schema, fresh_schema, server};
use clap::Parser;
use cqrs::prelude::*;
use cqrs::sqlx::postgres::PgPoolOptions;
use cqrs::sqlx::{self, PgPool};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

#[saga(name = "order", version = 1, steps = [reserve, charge, ship])]
#[derive(Clone, Serialize, Deserialize)]
struct Order {
    number: u64,
    reserved: bool,
    paid: Option<String>,
    shipped: bool,
}

#[saga_step(compensate = none)]
async fn reserve(cx: &mut Order) {
    cx.reserved = true;
}

#[saga_step(compensate = none)]
async fn charge(cx: &mut Order) {
    cx.paid = Some("by card".to_owned());
}

#[saga_step(compensate = none)]
async fn ship(cx: &mut Order) {
    cx.shipped = true;
}

fn order() -> Order {
    Order { number: 42, reserved: false, paid: None, shipped: false }
}

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

async fn by_hand(pool: &PgPool) -> Result<()> {
    let (id, mut context) = (Uuid::now_v7().to_string(), order());
    let begin = sqlx::query(START).bind(&id).bind(serde_json::to_vec(&context)?).bind(&[0_u8; 32][..]).bind(now()?);
    begin.execute(pool).await?;
    reserve(&mut context).await;
    let step = |step: &'static str, next: &'static str, number: i32, context: &Order| {
        let context = serde_json::to_vec(context)?;
        Result::Ok(sqlx::query(STEP).bind(id.clone()).bind(context).bind(now()?).bind(step).bind(next).bind(number))
    };
    step("reserve", "charge", 1, &context)?.execute(pool).await?;
    charge(&mut context).await;
    step("charge", "ship", 2, &context)?.execute(pool).await?;
    ship(&mut context).await;
    let end = sqlx::query(END).bind(&id).bind(serde_json::to_vec(&context)?).bind(now()?).bind("ship");
    end.execute(pool).await?;
    Ok(())
}

/// How many transactions that write something each call takes.
async fn commits<F: Future<Output = Result<()>>>(pool: &PgPool, call: impl Fn() -> F) -> Result<f64> {
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

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let at_once = at_once(&arguments);
    let url = server("POSTGRES")?;
    let admin = PgPool::connect(&url).await?;
    let schema = fresh_schema(&admin).await?;
    let options = url.parse::<sqlx::postgres::PgConnectOptions>()?.options([("search_path", &schema)]);
    let pool = |options| PgPoolOptions::new().max_connections(at_once).test_before_acquire(false).connect_with(options);
    let (plain, given) = (pool(options.clone()).await?, pool(options).await?);
    let app = cqrs::bootstrap!().store(Store::pool(given)).await?;
    for (table, like) in
        [("by_hand_sagas", "cqrs_sagas"), ("by_hand_steps", "cqrs_saga_steps"), ("by_hand_log", "cqrs_saga_log")]
    {
        let create = format!("CREATE TABLE {table} (LIKE {like} INCLUDING ALL)");
        sqlx::query(sqlx::AssertSqlSafe(create)).execute(&plain).await?;
    }
    let ours = || async {
        app.saga(order()).await?;
        Ok(())
    };
    let mut rates = rounds(&arguments, at_once, ours, || by_hand(&plain)).await?;
    rates.also.insert("commits", commits(&plain, ours).await?);
    drop_schema(&admin, &schema).await?;
    rates.tell()
}
