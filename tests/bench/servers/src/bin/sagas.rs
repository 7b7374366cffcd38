//! A saga of three steps on PostgreSQL beside the same checkpoints by hand: `saga.postgres`, and `saga.postgres.8` for eight at once. In
//! memory, beside the same context written into a map after each step: `saga.memory`. Ten thousand that a process left behind in their
//! first steps, taken up by another, beside eight loops that make the same checkpoints: `saga.recovery`.
//!
//! Both write the saga's row when it begins and after each step, the rows of the steps and those of the log, into tables with the
//! same columns and indexes, through a pool of as many connections. By hand each checkpoint is one statement, and nobody waits for it
//! but the loop itself. `commits` is how many transactions that write one saga of ours takes.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bench_servers::booking::{at_once, rounds};
use bench_servers::checkpoints::{self, commits, pools};
use bench_servers::{Arguments, Peers, Rates, Result, drop_schema, fresh_schema, median, rate, server};
use clap::Parser;
use cqrs::prelude::*;
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

async fn by_hand(pool: &PgPool) -> Result<()> {
    let (id, context) = (Uuid::now_v7().to_string(), order());
    checkpoints::begin(&id, &context)?.execute(pool).await?;
    steps_by_hand(pool, &id, context).await
}

/// The three steps of one that has begun.
async fn steps_by_hand(pool: &PgPool, id: &str, mut context: Order) -> Result<()> {
    reserve(&mut context).await;
    checkpoints::step(id, &context, "reserve", "charge", 1)?.execute(pool).await?;
    charge(&mut context).await;
    checkpoints::step(id, &context, "charge", "ship", 2)?.execute(pool).await?;
    ship(&mut context).await;
    checkpoints::end(id, &context)?.execute(pool).await?;
    Ok(())
}

async fn postgres(arguments: &Arguments) -> Result<Rates> {
    let (at_once, admin) = (at_once(arguments), PgPool::connect(&server("POSTGRES")?).await?);
    let schema = fresh_schema(&admin).await?;
    let (plain, given) = pools(&admin, &schema, at_once).await?;
    let app = cqrs::bootstrap!().store(Store::pool(given)).await?;
    checkpoints::tables(&plain).await?;
    let ours = || async {
        app.saga(order()).await?;
        Ok(())
    };
    let peers = Peers::sagas(arguments, "context", at_once);
    let mut rates = rounds(arguments, at_once, ours, || by_hand(&plain), peers).await?;
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
    let mut rates = rounds(arguments, 1, ours, by_hand, Peers::none()).await?;
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
    checkpoints::tables(&plain).await?;
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
