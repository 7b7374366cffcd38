//! A saga of three steps, each of which writes a row in the transaction that ends it, beside the same transactions by hand, and beside
//! others: `saga.postgres.rows`, and `.8` for eight at once.

use bench_servers::booking::{at_once, rounds};
use bench_servers::checkpoints::{self, Checkpoint, commits, pools};
use bench_servers::{Arguments, Peers, Rates, Result, drop_schema, fresh_schema, server};
use clap::Parser;
use cqrs::prelude::*;
use cqrs::sqlx::{self, PgConnection, PgPool, Postgres};
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

#[saga_step(compensate = release)]
async fn reserve(cx: &mut Order, tx: &mut Tx<Postgres>) -> Result<()> {
    cx.reserved = true;
    write(BOOK, tx, cx.number, "reserve").await
}

#[compensation]
async fn release(cx: &mut Order, tx: &mut Tx<Postgres>) -> Result<()> {
    write(UNBOOK, tx, cx.number, "reserve").await
}

#[saga_step(compensate = refund)]
async fn charge(cx: &mut Order, tx: &mut Tx<Postgres>) -> Result<()> {
    cx.paid = Some("by card".to_owned());
    write(BOOK, tx, cx.number, "charge").await
}

#[compensation]
async fn refund(cx: &mut Order, tx: &mut Tx<Postgres>) -> Result<()> {
    write(UNBOOK, tx, cx.number, "charge").await
}

#[saga_step(compensate = none)]
async fn ship(cx: &mut Order, tx: &mut Tx<Postgres>) -> Result<()> {
    cx.shipped = true;
    write(BOOK, tx, cx.number, "ship").await
}

const BOOKINGS: &str = "CREATE TABLE bookings (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, number BIGINT NOT NULL, step TEXT NOT NULL)";
const BOOK: &str = "INSERT INTO bookings (number, step) VALUES ($1, $2)";
const UNBOOK: &str = "DELETE FROM bookings WHERE number = $1 AND step = $2";

async fn write(statement: &'static str, on: &mut PgConnection, number: u64, step: &str) -> Result<()> {
    sqlx::query(statement).bind(number.cast_signed()).bind(step).execute(on).await?;
    Ok(())
}

fn order() -> Order {
    Order { number: 42, reserved: false, paid: None, shipped: false }
}

async fn by_hand(pool: &PgPool) -> Result<()> {
    let (id, mut context) = (Uuid::now_v7().to_string(), order());
    checkpoints::begin(&id, &context)?.execute(pool).await?;
    let with_row = async |name, checkpoint: Checkpoint| -> Result<()> {
        let mut tx = pool.begin().await?;
        write(BOOK, &mut tx, 42, name).await?;
        checkpoint.execute(&mut *tx).await?;
        Ok(tx.commit().await?)
    };
    context.reserved = true;
    with_row("reserve", checkpoints::step(&id, &context, "reserve", "charge", 1)?).await?;
    context.paid = Some("by card".to_owned());
    with_row("charge", checkpoints::step(&id, &context, "charge", "ship", 2)?).await?;
    context.shipped = true;
    with_row("ship", checkpoints::end(&id, &context)?).await
}

async fn measure(arguments: &Arguments) -> Result<Rates> {
    let (at_once, admin) = (at_once(arguments), PgPool::connect(&server("POSTGRES")?).await?);
    let schema = fresh_schema(&admin).await?;
    let (plain, given) = pools(&admin, &schema, at_once).await?;
    let app = cqrs::bootstrap!().store(Store::pool(given)).await?;
    checkpoints::tables(&plain).await?;
    sqlx::query(BOOKINGS).execute(&plain).await?;
    let ours = || async {
        app.saga(order()).await?;
        Ok(())
    };
    let peers = Peers::sagas(arguments, "rows", at_once);
    let mut rates = rounds(arguments, at_once, ours, || by_hand(&plain), peers).await?;
    rates.also.insert("commits", commits(&plain, ours).await?);
    drop_schema(&admin, &schema).await?;
    Ok(rates)
}

#[tokio::main]
async fn main() -> Result<()> {
    measure(&Arguments::parse()).await?.tell()
}
