//! A backlog of ten million rows on PostgreSQL, relayed to Kafka: `backlog`.
//!
//! First as many rows as a round of `relay.postgres.kafka` has go through an empty table, a few times: that is the plain side. Then
//! the table is filled, and relayed by an app that begins with it. What is published is read from Kafka, which costs the database
//! nothing: the rates are those of a tenth of the rows at the start, in the middle and at the end. The memory is that of this
//! process, which does nothing else meanwhile.

use std::time::{Duration, Instant};

use bench_servers::kafka::{self, Ends};
use bench_servers::relaying::{OnPostgres, Tables, ours, templates};
use bench_servers::{Arguments, Rates, Result, drop_schema, fresh_schema, median, memory, server};
use clap::Parser;
use cqrs::prelude::*;
use cqrs::sqlx::PgPool;
use cqrs::sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

const ROWS: u32 = 10_000_000;
const QUICK: u32 = 50_000;
const FILLED_AT_ONCE: u32 = 1_000_000;
const TEMPLATES: u32 = 10_000;
/// Of the empty table.
const ROUND: u32 = 100_000;
const ROUNDS: usize = 3;
const LOOK: Duration = Duration::from_millis(100);

#[derive(NotificationEvent, Serialize, Deserialize)]
#[event(name = "piled", topic = "bench_backlog", key = key)]
struct Piled {
    key: u32,
}

#[derive(Parser)]
struct Backlog {
    #[command(flatten)]
    shared: Arguments,
    /// How many rows there are; with `--quick` 50,000 unless this is said.
    #[arg(long)]
    rows: Option<u32>,
}

async fn app(pool: &PgPool) -> Result<App> {
    let broker = Broker::url(server("KAFKA")?);
    Ok(cqrs::bootstrap!().store(Store::pool(pool.clone())).broker(broker).run(["relay"]).await?)
}

fn start(app: &App) -> JoinHandle<std::result::Result<(), cqrs::Error>> {
    let app = app.clone();
    tokio::spawn(async move { app.run_until(std::future::pending::<()>()).await })
}

/// Rates of rounds through an empty table.
async fn empty(pool: &PgPool, tables: &OnPostgres, round: u32) -> Result<Vec<f64>> {
    let app = app(pool).await?;
    let running = start(&app);
    let mut rates = Vec::new();
    for number in 0..=ROUNDS {
        let rate = ours(&app, tables, round, Piled { key: 0 }).await?;
        if number > 0 {
            rates.push(rate);
        }
    }
    app.shutdown().await;
    running.await??;
    Ok(rates)
}

/// How many were published, and when.
type Seen = Vec<(i64, Instant)>;

/// Relays all, and notes how far it is. Gives the most that was resident meanwhile, too.
async fn relay(pool: &PgPool, tables: &OnPostgres, ends: Ends, rows: i64) -> Result<(Seen, f64)> {
    let before = ends.count()?;
    let app = app(pool).await?;
    let running = start(&app);
    let watching = tokio::task::spawn_blocking(move || -> Result<(Seen, f64)> {
        let (mut seen, mut most) = (vec![(0, Instant::now())], 0.0_f64);
        while seen.last().is_some_and(|(count, _)| *count < rows) {
            std::thread::sleep(LOOK);
            seen.push((ends.count()? - before, Instant::now()));
            most = most.max(memory::resident()?.0);
        }
        Ok((seen, most))
    });
    let seen = watching.await??;
    while !tables.is_empty().await? {
        tokio::time::sleep(LOOK).await;
    }
    app.shutdown().await;
    running.await??;
    Ok(seen)
}

/// The rate between two shares of all. When there were as many is taken to lie on a line between two looks: few rows are all published
/// between one look and the next.
#[expect(clippy::cast_precision_loss, reason = "far fewer rows than that")]
fn between(seen: &Seen, from: f64, until: f64) -> f64 {
    let all = seen.last().map_or(0.0, |(count, _)| *count as f64);
    let begun = seen.first().map_or_else(Instant::now, |(_, begun)| *begun);
    let at = |share: f64| {
        let next = seen.partition_point(|(count, _)| (*count as f64) < all * share).clamp(1, seen.len() - 1);
        let [(before, earlier), (after, later)] = [seen[next - 1], seen[next]];
        let part = (all * share - before as f64) / ((after - before) as f64).max(1.0);
        (earlier + later.duration_since(earlier).mul_f64(part.clamp(0.0, 1.0))).duration_since(begun).as_secs_f64()
    };
    all * (until - from) / (at(until) - at(from))
}

#[tokio::main]
async fn main() -> Result<()> {
    let Backlog { shared, rows } = Backlog::parse();
    let rows = rows.unwrap_or(if shared.quick { QUICK } else { ROWS });
    let url = server("POSTGRES")?;
    let admin = PgPool::connect(&url).await?;
    let schema = fresh_schema(&admin).await?;
    let options = url.parse::<PgConnectOptions>()?.options([("search_path", &schema)]);
    let pool = PgPoolOptions::new().max_connections(8).connect_with(options).await?;
    let tables = OnPostgres(pool.clone());
    let round = shared.of(ROUND);
    templates(&app(&pool).await?, &tables, round, |key| Piled { key }).await?;
    let plain = empty(&pool, &tables, round).await?;
    tables.keep(TEMPLATES).await?;
    let mut filled: u32 = 0;
    while filled < rows {
        filled += u32::try_from(tables.fill_many((rows - filled).clamp(TEMPLATES, FILLED_AT_ONCE).into()).await?)?;
        eprintln!("backlog: {filled} rows are there");
    }
    let servers = kafka::servers()?;
    let ends = Ends::of(&servers, "bench_backlog")?;
    let (seen, most) = relay(&pool, &tables, ends, i64::from(filled)).await?;
    let ours = vec![between(&seen, 0.0, 0.1), between(&seen, 0.45, 0.55), between(&seen, 0.9, 1.0)];
    let mut rates = Rates { plain, ..Rates::default() };
    rates.also.extend([("start", ours[0]), ("middle", ours[1]), ("end", ours[2]), ("all", between(&seen, 0.0, 1.0))]);
    rates.also.extend([("least of empty", ours.iter().copied().fold(f64::MAX, f64::min) / median(&rates.plain))]);
    rates.also.extend([("rows", f64::from(filled)), ("resident MiB", most), ("peak MiB", memory::resident()?.1)]);
    rates.ours = ours;
    Ends::of(&servers, "bench_backlog")?.forget(&servers).await?;
    drop_schema(&admin, &schema).await?;
    rates.tell()
}
