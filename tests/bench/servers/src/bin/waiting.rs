//! A hundred thousand sagas that wait on PostgreSQL, and a thousand events a second that some of them wait for: `saga.waiting`.
//!
//! `ours` are the medians, in milliseconds, from a command that raises an event to the step that has waited for it, over the outbox, the memory
//! broker, and the table of awaited events. `plain` are those of a consumed handler of the same events in the same process. `scan_ms`
//! is what it takes to look for what is due, with all of them there.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bench_servers::{Arguments, Rates, Result, drop_schema, fresh_schema, median, memory, quantile, server};
use clap::Parser;
use cqrs::prelude::*;
use cqrs::sqlx::postgres::PgPoolOptions;
use cqrs::sqlx::{self, PgPool};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

const WAITING: u32 = 100_000;
/// In a round, one each millisecond.
const EVENTS: u32 = 10_000;
const STARTED_AT_ONCE: u32 = 16;
const PATIENCE: Duration = Duration::from_mins(2);

#[derive(NotificationEvent, Serialize, Deserialize)]
#[event(name = "arrived", topic = "bench_arrivals", key = parcel)]
struct Arrived {
    parcel: u32,
    raised_at: i64,
}

#[saga(name = "parcel", steps = [arrive])]
#[derive(Serialize, Deserialize)]
struct Parcel {
    parcel: u32,
}

/// Milliseconds of each event.
#[derive(Default)]
struct Noted {
    steps: Mutex<Vec<f64>>,
    handlers: Mutex<Vec<f64>>,
}

#[expect(clippy::cast_precision_loss, reason = "far fewer than that")]
fn note(noted: &Mutex<Vec<f64>>, event: &Arrived) {
    let took = (micros() - event.raised_at).max(0) as f64 / 1e3;
    noted.lock().unwrap_or_else(PoisonError::into_inner).push(took);
}

fn taken(noted: &Mutex<Vec<f64>>) -> Vec<f64> {
    std::mem::take(&mut *noted.lock().unwrap_or_else(PoisonError::into_inner))
}

#[saga_step(awaits = Arrived, by = parcel, compensate = none)]
async fn arrive(_cx: &mut Parcel, event: &Arrived, noted: Inject<Noted>) {
    note(&noted.steps, event);
}

#[event_handler(group = "bench_plain")]
async fn plain(event: &Arrived, noted: Inject<Noted>) {
    note(&noted.handlers, event);
}

#[derive(Command)]
struct Arrive {
    parcel: u32,
}

#[command_handler]
async fn tell(cmd: Arrive, events: &mut Events) {
    events.raise(Arrived { parcel: cmd.parcel, raised_at: micros() });
}

fn micros() -> i64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// Starts sagas until so many wait.
async fn fill(app: &App, pool: &PgPool, from: u32, to: u32) -> Result<()> {
    let mut starting = JoinSet::new();
    for first in 0..STARTED_AT_ONCE {
        let app = app.clone();
        starting.spawn(async move {
            for parcel in (from + first..to).step_by(STARTED_AT_ONCE as usize) {
                app.saga(Parcel { parcel }).id(format!("parcel-{parcel}")).start().await?;
            }
            Ok::<(), cqrs::SagaError>(())
        });
    }
    while let Some(started) = starting.join_next().await {
        started??;
    }
    until(pool, "SELECT COUNT(*) FROM cqrs_sagas WHERE owner IS NOT NULL", 0).await
}

async fn until(pool: &PgPool, count: &'static str, most: i64) -> Result<()> {
    let begun = Instant::now();
    while sqlx::query_scalar::<_, i64>(count).fetch_one(pool).await? > most {
        if begun.elapsed() > PATIENCE {
            return Err(format!("it takes too long: {count}").into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Raises an event each millisecond, and waits until all have come.
async fn round(app: &App, noted: &Noted, from: u32, events: u32) -> Result<(Vec<f64>, Vec<f64>)> {
    let (mut ticks, mut raising) = (tokio::time::interval(Duration::from_millis(1)), JoinSet::new());
    for parcel in from..from + events {
        ticks.tick().await;
        let app = app.clone();
        raising.spawn(async move { app.send(Arrive { parcel }).await });
    }
    while let Some(raised) = raising.join_next().await {
        raised??;
    }
    let (begun, all) = (Instant::now(), events as usize);
    let count = |noted: &Mutex<Vec<f64>>| noted.lock().unwrap_or_else(PoisonError::into_inner).len();
    while count(&noted.steps) < all || count(&noted.handlers) < all {
        if begun.elapsed() > PATIENCE {
            let (steps, handlers) = (count(&noted.steps), count(&noted.handlers));
            return Err(
                format!("of {events} events {steps} have come to their steps, {handlers} to the handler").into()
            );
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok((taken(&noted.steps), taken(&noted.handlers)))
}

/// Milliseconds of a look for what is due.
async fn scan(pool: &PgPool) -> Result<f64> {
    let mut looks = Vec::new();
    for _ in 0..50 {
        let begun = Instant::now();
        let due = "SELECT id FROM cqrs_sagas WHERE due_at <= $1 ORDER BY due_at, id LIMIT 256 FOR UPDATE SKIP LOCKED";
        sqlx::query(due).bind(micros()).fetch_all(pool).await?;
        looks.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    Ok(median(&looks))
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let (waiting, events) = (arguments.of(WAITING), arguments.of(EVENTS));
    let admin = PgPool::connect(&server("POSTGRES")?).await?;
    let schema = fresh_schema(&admin).await?;
    let options = (*admin.connect_options()).clone().options([("search_path", &schema)]);
    let given = PgPoolOptions::new().max_connections(16).connect_with(options).await?;
    let noted = Arc::new(Noted::default());
    let store = Store::pool(given.clone());
    let app = cqrs::bootstrap!().store(store).broker(Broker::url("memory:")).provide_arc(Arc::clone(&noted)).await?;
    let running = tokio::spawn({
        let app = app.clone();
        async move { app.run_until(app.stopping()).await }
    });
    let mut rates = Rates::default();
    fill(&app, &given, 0, events).await?;
    let few = memory::resident()?.0;
    fill(&app, &given, events, waiting).await?;
    sqlx::query("ANALYZE").execute(&given).await?;
    rates.also.insert("resident_mib_more", memory::resident()?.0 - few);
    rates.also.insert("scan_ms", scan(&given).await?);
    let rounds = u32::try_from(arguments.rounds().min(3))?.min(waiting / events);
    let (mut steps, mut handlers) = (Vec::new(), Vec::new());
    for at in 0..rounds {
        let (ours, plain) = round(&app, &noted, at * events, events).await?;
        rates.ours.push(median(&ours));
        rates.plain.push(median(&plain));
        steps.extend(ours);
        handlers.extend(plain);
    }
    rates.also.insert("p99", quantile(&steps, 0.99));
    rates.also.insert("plain_p99", quantile(&handlers, 0.99));
    app.shutdown().await;
    running.await??;
    drop_schema(&admin, &schema).await?;
    rates.tell()
}
