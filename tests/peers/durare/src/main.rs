//! `postgres context|rows AT_ONCE SAGAS`: the saga of the bench paths `saga.postgres` and `saga.postgres.rows` as a workflow of durare.
//!
//! What its example of a saga does: each step is a durable step, or a durable transaction where it writes a row, and an error of a later
//! one is followed by the steps that undo the earlier ones, in the code of the workflow itself. Prints one line of JSON.

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use durare::{DurableContext, DurableEngine, PostgresProvider, Tx, WorkflowOptions, params};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const TABLE: &str = "CREATE TABLE bookings (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, number BIGINT NOT NULL, step TEXT NOT NULL)";
const BOOK: &str = "INSERT INTO bookings (number, step) VALUES (?, ?)";
const UNBOOK: &str = "DELETE FROM bookings WHERE number = ? AND step = ?";

#[derive(Clone, Serialize, Deserialize)]
struct Order {
    number: i64,
    reserved: bool,
    paid: Option<String>,
    shipped: bool,
}

#[durare::step]
async fn reserve(ctx: &DurableContext) -> durare::Result<bool> {
    Ok(true)
}

#[durare::step]
async fn charge(ctx: &DurableContext) -> durare::Result<String> {
    Ok("by card".to_owned())
}

#[durare::step]
async fn ship(ctx: &DurableContext) -> durare::Result<bool> {
    Ok(true)
}

#[durare::step]
async fn release(ctx: &DurableContext) -> durare::Result<()> {
    Ok(())
}

#[durare::step]
async fn refund(ctx: &DurableContext) -> durare::Result<()> {
    Ok(())
}

#[durare::workflow]
async fn book(ctx: DurableContext, mut order: Order) -> durare::Result<Order> {
    order.reserved = reserve(&ctx).await?;
    match charge(&ctx).await {
        Ok(paid) => order.paid = Some(paid),
        Err(error) => {
            release(&ctx).await?;
            return Err(error);
        }
    }
    match ship(&ctx).await {
        Ok(shipped) => order.shipped = shipped,
        Err(error) => {
            refund(&ctx).await?;
            release(&ctx).await?;
            return Err(error);
        }
    }
    Ok(order)
}

#[durare::transaction]
async fn reserve_row(ctx: &DurableContext, tx: &mut Tx<'_>, number: i64) -> durare::Result<bool> {
    tx.execute(BOOK, &params![number, "reserve"]).await?;
    Ok(true)
}

#[durare::transaction]
async fn charge_row(ctx: &DurableContext, tx: &mut Tx<'_>, number: i64) -> durare::Result<String> {
    tx.execute(BOOK, &params![number, "charge"]).await?;
    Ok("by card".to_owned())
}

#[durare::transaction]
async fn ship_row(ctx: &DurableContext, tx: &mut Tx<'_>, number: i64) -> durare::Result<bool> {
    tx.execute(BOOK, &params![number, "ship"]).await?;
    Ok(true)
}

#[durare::transaction]
async fn unbook_row(ctx: &DurableContext, tx: &mut Tx<'_>, number: i64, step: String) -> durare::Result<()> {
    tx.execute(UNBOOK, &params![number, step]).await?;
    Ok(())
}

#[durare::workflow]
async fn book_rows(ctx: DurableContext, mut order: Order) -> durare::Result<Order> {
    let number = order.number;
    order.reserved = reserve_row(&ctx, number).await?;
    match charge_row(&ctx, number).await {
        Ok(paid) => order.paid = Some(paid),
        Err(error) => {
            unbook_row(&ctx, number, "reserve".to_owned()).await?;
            return Err(error);
        }
    }
    match ship_row(&ctx, number).await {
        Ok(shipped) => order.shipped = shipped,
        Err(error) => {
            unbook_row(&ctx, number, "charge".to_owned()).await?;
            unbook_row(&ctx, number, "reserve".to_owned()).await?;
            return Err(error);
        }
    }
    Ok(order)
}

/// What the command line says.
struct Asked {
    store: String,
    has_rows: bool,
    sagas: u32,
    at_once: u32,
}

fn asked() -> Result<Asked> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [store, work, at_once, sagas] = arguments.as_slice() else {
        return Err("saga postgres context|rows AT_ONCE SAGAS".into());
    };
    if store != "postgres" || !["context", "rows"].contains(&work.as_str()) {
        return Err(format!("there is no `{store} {work}`: postgres context, postgres rows").into());
    }
    Ok(Asked { store: store.clone(), has_rows: work == "rows", sagas: sagas.parse()?, at_once: at_once.parse()? })
}

async fn one(engine: &DurableEngine, has_rows: bool) -> Result<()> {
    let (asked, options) =
        (Order { number: 42, reserved: false, paid: None, shipped: false }, WorkflowOptions::default());
    let handle = if has_rows {
        engine.start_with(BookRows, asked, options).await?
    } else {
        engine.start_with(Book, asked, options).await?
    };
    let ended = handle.await?;
    if ended.shipped { Ok(()) } else { Err("it was not shipped".into()) }
}

/// Runs so many of them, by so many loops.
async fn all(engine: &Arc<DurableEngine>, asked: &Asked, sagas: u32) -> Result<()> {
    let (count, has_rows) = (sagas / asked.at_once, asked.has_rows);
    let loops: Vec<_> = (0..asked.at_once)
        .map(|_| {
            let engine = Arc::clone(engine);
            tokio::spawn(async move {
                for _ in 0..count {
                    one(&engine, has_rows).await?;
                }
                Result::Ok(())
            })
        })
        .collect();
    for running in loops {
        running.await??;
    }
    Ok(())
}

/// The number of the next transaction that writes.
async fn next_transaction(pool: &PgPool) -> Result<i64> {
    let number = "SELECT CAST(pg_snapshot_xmax(pg_current_snapshot())::text AS BIGINT)";
    Ok(sqlx::query_scalar(number).fetch_one(pool).await?)
}

#[tokio::main]
async fn main() -> Result<()> {
    let asked = asked()?;
    let options: PgConnectOptions = std::env::var("CQRS_TEST_POSTGRES_URL")?.parse()?;
    let schema = format!("peer_durare_{}", uuid::Uuid::new_v4().simple());
    let admin = PgPool::connect_with(options.clone()).await?;
    sqlx::query(&format!("CREATE SCHEMA {schema}")).execute(&admin).await?;

    let options = options.options([("search_path", &schema)]);
    // One of them listens.
    let pool = PgPoolOptions::new().max_connections(asked.at_once + 1).test_before_acquire(false).connect_with(options);
    let provider = PostgresProvider::from_pool_with_schema(pool.await?, &schema)?;
    sqlx::query(TABLE).execute(provider.pool()).await?;
    let engine = Arc::new(DurableEngine::new(Arc::new(provider)).await?);
    engine.recover().await?;

    all(&engine, &asked, asked.sagas / 10).await?;
    let (first, begun) = (next_transaction(&admin).await?, Instant::now());
    all(&engine, &asked, asked.sagas).await?;
    let (seconds, last) = (begun.elapsed().as_secs_f64(), next_transaction(&admin).await?);

    let sagas = asked.sagas / asked.at_once * asked.at_once;
    let commits = u32::try_from(last - first)?;
    let told = serde_json::json!({
        "peer": "durare",
        "store": asked.store,
        "sagas": sagas,
        "at_once": asked.at_once,
        "seconds": seconds,
        "per_second": f64::from(sagas) / seconds,
        "commits": f64::from(commits) / f64::from(sagas),
    });
    println!("{told}");
    drop(engine);
    sqlx::query(&format!("DROP SCHEMA {schema} CASCADE")).execute(&admin).await?;
    Ok(())
}
