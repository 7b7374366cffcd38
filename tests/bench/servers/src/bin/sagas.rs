//! A saga of three steps on PostgreSQL beside the same checkpoints by hand: `saga.postgres`, and `saga.postgres.8` for eight at once. In
//! memory, beside the same context written into a map after each step: `saga.memory`. Ten thousand that a process left behind in their
//! first steps, taken up by another, beside eight loops that make the same checkpoints: `saga.recovery`.
//!
//! Both write the saga's row when it begins and after each step, the rows of the steps and those of the log, into tables with the
//! same columns and indexes, through a pool of as many connections. By hand each checkpoint is one statement, and nobody waits for it
//! but the loop itself. `commits` is how many transactions that write one saga of ours takes.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bench_servers::booking::{at_once, rounds};
use bench_servers::{Arguments, Rates, Result, drop_schema, fresh_schema, median, rate, server};
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
    let (id, context) = (Uuid::now_v7().to_string(), order());
    let begin = sqlx::query(START).bind(&id).bind(serde_json::to_vec(&context)?).bind(&[0_u8; 32][..]).bind(now()?);
    begin.execute(pool).await?;
    steps_by_hand(pool, &id, context).await
}

/// The three steps of one that has begun.
async fn steps_by_hand(pool: &PgPool, id: &str, mut context: Order) -> Result<()> {
    reserve(&mut context).await;
    let step = |step: &'static str, next: &'static str, number: i32, context: &Order| {
        let context = serde_json::to_vec(context)?;
        Result::Ok(sqlx::query(STEP).bind(id.to_owned()).bind(context).bind(now()?).bind(step).bind(next).bind(number))
    };
    step("reserve", "charge", 1, &context)?.execute(pool).await?;
    charge(&mut context).await;
    step("charge", "ship", 2, &context)?.execute(pool).await?;
    ship(&mut context).await;
    let end = sqlx::query(END).bind(id).bind(serde_json::to_vec(&context)?).bind(now()?).bind("ship");
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

/// Two pools of so many connections on a schema of its own.
async fn pools(admin: &PgPool, schema: &str, connections: u32) -> Result<(PgPool, PgPool)> {
    let options = (*admin.connect_options()).clone().options([("search_path", schema)]);
    let pool =
        |options| PgPoolOptions::new().max_connections(connections).test_before_acquire(false).connect_with(options);
    Ok((pool(options.clone()).await?, pool(options).await?))
}

async fn tables_by_hand(plain: &PgPool) -> Result<()> {
    for (table, like) in
        [("by_hand_sagas", "cqrs_sagas"), ("by_hand_steps", "cqrs_saga_steps"), ("by_hand_log", "cqrs_saga_log")]
    {
        let create = format!("CREATE TABLE {table} (LIKE {like} INCLUDING ALL)");
        sqlx::query(sqlx::AssertSqlSafe(create)).execute(plain).await?;
    }
    Ok(())
}

async fn postgres(arguments: &Arguments) -> Result<Rates> {
    let (at_once, admin) = (at_once(arguments), PgPool::connect(&server("POSTGRES")?).await?);
    let schema = fresh_schema(&admin).await?;
    let (plain, given) = pools(&admin, &schema, at_once).await?;
    let app = cqrs::bootstrap!().store(Store::pool(given)).await?;
    tables_by_hand(&plain).await?;
    let ours = || async {
        app.saga(order()).await?;
        Ok(())
    };
    let mut rates = rounds(arguments, at_once, ours, || by_hand(&plain)).await?;
    rates.also.insert("commits", commits(&plain, ours).await?);
    drop_schema(&admin, &schema).await?;
    Ok(rates)
}

async fn memory(arguments: &Arguments) -> Result<Rates> {
    let (app, stored) = (cqrs::bootstrap!().store(Store::url("memory:")).await?, Mutex::new(HashMap::new()));
    let ours = || async {
        app.saga(order()).await?;
        Ok(())
    };
    let store = |id: &str, context: &Order| -> Result<()> {
        let bytes = serde_json::to_vec(context)?;
        stored.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned(), bytes);
        Ok(())
    };
    let by_hand = || async {
        let (id, mut context) = (Uuid::now_v7().to_string(), order());
        store(&id, &context)?;
        Box::pin(reserve(&mut context)).await;
        store(&id, &context)?;
        Box::pin(charge(&mut context)).await;
        store(&id, &context)?;
        Box::pin(ship(&mut context)).await;
        store(&id, &context)
    };
    let mut rates = rounds(arguments, 1, ours, by_hand).await?;
    rates.also.insert("us_a_step", 1e6 / median(&rates.ours) / 3.0);
    Ok(rates)
}

/// Sagas in their first steps, whose owner is gone: the earlier ones first.
const LEFT: &str = "
WITH left_behind AS (SELECT lpad(n::text, 8, '0') AS id, n FROM generate_series(1, $1::bigint) AS n), saga AS (
    INSERT INTO {sagas} (id, name, version, phase, context, digest, headers, owner, lease_until, started_at, changed_at)
    SELECT id, 'order', 1, 'forward', $2, $3, '{}', 'gone', n, n, n FROM left_behind)
INSERT INTO {steps} (saga, step, progress, attempt, in_doubt) SELECT id, 'reserve', 'running', 1, FALSE FROM left_behind";

async fn leave(pool: &PgPool, sagas: &str, steps: &str, count: u32) -> Result<()> {
    for table in [sagas, steps] {
        sqlx::query(sqlx::AssertSqlSafe(format!("TRUNCATE {table}"))).execute(pool).await?;
    }
    let text = LEFT.replace("{sagas}", sagas).replace("{steps}", steps);
    let left = sqlx::query(sqlx::AssertSqlSafe(text)).bind(i64::from(count)).bind(serde_json::to_vec(&order())?);
    left.bind(&[0_u8; 32][..]).execute(pool).await?;
    sqlx::query(sqlx::AssertSqlSafe(format!("ANALYZE {sagas}"))).execute(pool).await?;
    Ok(())
}

async fn recovery(arguments: &Arguments) -> Result<Rates> {
    const AT_ONCE: u32 = 8;
    let count = arguments.of(10_000);
    let admin = PgPool::connect(&server("POSTGRES")?).await?;
    let schema = fresh_schema(&admin).await?;
    let (plain, given) = pools(&admin, &schema, AT_ONCE).await?;
    cqrs::bootstrap!().store(Store::pool(given.clone())).await?;
    tables_by_hand(&plain).await?;
    let mut rates = Rates::default();
    for _ in 0..arguments.rounds().min(3) {
        leave(&plain, "by_hand_sagas", "by_hand_steps", count).await?;
        sqlx::query("TRUNCATE by_hand_log, cqrs_saga_log").execute(&plain).await?;
        let begun = Instant::now();
        let loops = (0..AT_ONCE).map(|first| {
            let plain = &plain;
            async move {
                for number in (1 + first..=count).step_by(AT_ONCE as usize) {
                    steps_by_hand(plain, &format!("{number:08}"), order()).await?;
                }
                Result::Ok(())
            }
        });
        futures_util::future::try_join_all(loops).await?;
        rates.plain.push(rate(count, begun.elapsed()));

        leave(&plain, "cqrs_sagas", "cqrs_saga_steps", count).await?;
        let app = cqrs::bootstrap!().store(Store::pool(given.clone())).await?;
        let begun = Instant::now();
        let running = tokio::spawn({
            let app = app.clone();
            async move { app.run_until(app.stopping()).await }
        });
        let unended = "SELECT COUNT(*) FROM cqrs_sagas WHERE phase = 'forward'";
        while sqlx::query_scalar::<_, i64>(unended).fetch_one(&plain).await? > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        rates.ours.push(rate(count, begun.elapsed()));
        app.shutdown().await;
        running.await??;
    }
    // How far the one that is furthest from it ended from its place in the order of their leases.
    let furthest = "SELECT MAX(ABS(place - id::bigint)) FROM (SELECT id, row_number() OVER (ORDER BY ended_at, id) AS place FROM cqrs_sagas) AS ended";
    let furthest: i64 = sqlx::query_scalar(furthest).fetch_one(&plain).await?;
    rates.also.insert("out_of_place", f64::from(u32::try_from(furthest)?));
    rates.also.insert("seconds", f64::from(count) / median(&rates.ours));
    drop_schema(&admin, &schema).await?;
    Ok(rates)
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let rates = match arguments.path.as_str() {
        "saga.memory" => memory(&arguments).await?,
        "saga.recovery" => recovery(&arguments).await?,
        _ => postgres(&arguments).await?,
    };
    rates.tell()
}
