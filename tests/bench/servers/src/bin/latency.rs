//! From a commit on PostgreSQL to a handler in another process over Kafka, at a thousand messages a second: `latency`.
//!
//! This program publishes, and starts itself twice as a consumer: one of the framework and one by hand. Each notes when its handler
//! has a message, within a transaction that has marked it. Both sides commit the same row by the same unit of work, as many at once,
//! and are woken by the commit. By hand nothing lingers: each turn drains what there is, publishes it and commits.

use std::future::Future;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use bench_servers::consuming::{ByHand, marks};
use bench_servers::kafka;
use bench_servers::relaying::{OnPostgres, drain, templates};
use bench_servers::{Arguments, Rates, Result, drop_schema, fresh_schema, median, quantile, server};
use clap::Parser;
use cqrs::prelude::*;
use cqrs::sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use cqrs::sqlx::{self, PgPool, Postgres};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// Milliseconds, each with a message.
const ROUND: u32 = 10_000;
const OURS: &str = "bench_latency";
const PLAIN: &str = "bench_latency_by_hand";
const PARTITIONS: i32 = 4;
const BATCH: usize = 100;
/// For a message. The partitions of consumers that the program before this one has killed are theirs for 45 seconds more.
const PATIENCE: Duration = Duration::from_secs(90);
/// Says to this program that it is a consumer, in which schema.
const CONSUMER: &str = "BENCH_LATENCY_CONSUMER";

#[derive(NotificationEvent, Serialize, Deserialize)]
#[event(name = "timed", topic = "bench_latency", key = number)]
struct Timed {
    /// When its round began: what a program before this one left in the topic is not counted.
    round: i64,
    number: u32,
}

fn micros() -> i64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

fn note(&Timed { round, number }: &Timed) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{round} {number} {}", micros())?;
    out.flush()
}

#[event_handler(group = "bench_latency")]
async fn timed(e: Timed, _tx: &mut Tx<Postgres>) -> std::result::Result<(), std::io::Error> {
    note(&e)
}

async fn pool(schema: &str) -> Result<PgPool> {
    let options = server("POSTGRES")?.parse::<PgConnectOptions>()?.options([("search_path", schema)]);
    Ok(PgPoolOptions::new().max_connections(8).connect_with(options).await?)
}

/// The other process, until it is killed.
async fn consume(path: &str, schema: &str) -> Result<()> {
    let pool = pool(schema).await?;
    if path == OURS {
        let app = cqrs::bootstrap!().store(Store::pool(pool)).broker(Broker::url(server("KAFKA")?));
        return Ok(app.run(["group:bench_latency"]).await?.run().await?);
    }
    let consumer = ByHand::new(&kafka::servers()?, "bench_latency_by_hand", PLAIN)?;
    loop {
        let mut batch = consumer.receive::<Timed>(BATCH).await?;
        let mut tx = pool.begin().await?;
        batch.mark(&mut tx).await?;
        for body in &batch.bodies {
            note(&body.payload)?;
        }
        tx.commit().await?;
        consumer.commit(&batch)?;
    }
}

/// A consumer, and what it notes.
struct Other {
    child: Child,
    noted: Receiver<[i64; 3]>,
}

impl Other {
    fn start(path: &str, schema: &str) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.arg(path).env(CONSUMER, schema).stdout(Stdio::piped()).spawn()?;
        let out = BufReader::new(child.stdout.take().ok_or("no output")?);
        let (tell, noted) = channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(std::result::Result::ok) {
                let parsed = line.split(' ').map(|part| part.parse().ok()).collect::<Option<Vec<i64>>>();
                let parsed = parsed.and_then(|parsed| parsed.try_into().ok());
                if parsed.is_none_or(|noted| tell.send(noted).is_err()) {
                    return;
                }
            }
        });
        Ok(Self { child, noted })
    }

    /// Milliseconds from commit to handler of each, when all have been handled.
    #[expect(clippy::cast_precision_loss, reason = "far fewer than that")]
    fn latencies(&self, round: i64, committed: &[AtomicI64]) -> Result<Vec<f64>> {
        let mut latencies = vec![f64::NAN; committed.len()];
        let mut missing = committed.len();
        while missing > 0 {
            let [of, number, at] = self.noted.recv_timeout(PATIENCE).map_err(|_| "a message has not been handled")?;
            let number = usize::try_from(number)?;
            if of == round && latencies[number].is_nan() {
                latencies[number] = (at - committed[number].load(Ordering::Acquire)).max(0) as f64 / 1e3;
                missing -= 1;
            }
        }
        Ok(latencies)
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Commits one each millisecond, and notes when it had committed.
async fn commit<F>(count: u32, one: impl Fn(u32) -> F) -> Result<Arc<[AtomicI64]>>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let committed: Arc<[AtomicI64]> = (0..count).map(|_| AtomicI64::new(0)).collect();
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    let mut commits = JoinSet::new();
    for number in 0..count {
        ticks.tick().await;
        let (commit, committed) = (one(number), Arc::clone(&committed));
        commits.spawn(async move {
            commit.await?;
            committed[number as usize].store(micros(), Ordering::Release);
            Result::Ok(())
        });
    }
    while let Some(end) = commits.join_next().await {
        end??;
    }
    Ok(committed)
}

async fn raise(app: App, timed: Timed) -> Result<()> {
    let mut unit = app.unit::<Postgres>().await?;
    unit.events().raise(timed);
    Ok(unit.commit().await?)
}

/// The same row, from what the framework has stored once.
const STORE: &str = "
INSERT INTO by_hand SELECT nextval('places'), topic, message_key,
    convert_to(jsonb_set(jsonb_set(convert_from(payload, 'UTF8')::jsonb,
        '{payload}', jsonb_build_object('number', $1::bigint, 'round', $2::bigint)),
        '{event_id}', to_jsonb(gen_random_uuid()))::text, 'UTF8'), headers
FROM templates LIMIT 1";

static COMMITTED: OnceLock<Notify> = OnceLock::new();

async fn store(pool: PgPool, Timed { round, number }: Timed) -> Result<()> {
    let mut tx = pool.begin().await?;
    sqlx::query(STORE).bind(i64::from(number)).bind(round).execute(&mut *tx).await?;
    tx.commit().await?;
    COMMITTED.get_or_init(Notify::new).notify_one();
    Ok(())
}

async fn by_hand(pool: PgPool) -> Result<()> {
    let (tables, producer) = (OnPostgres(pool), kafka::producer(&kafka::servers()?, "0")?);
    loop {
        while drain(&tables, &producer, PLAIN).await? > 0 {}
        COMMITTED.get_or_init(Notify::new).notified().await;
    }
}

async fn measure(arguments: &Arguments, schema: &str) -> Result<Rates> {
    let pool = pool(schema).await?;
    kafka::topics(&kafka::servers()?, [OURS, PLAIN], PARTITIONS).await?;
    let broker = Broker::url(server("KAFKA")?);
    let app = cqrs::bootstrap!().store(Store::pool(pool.clone())).broker(broker).run(["relay"]).await?;
    templates(&app, &OnPostgres(pool.clone()), 1, |number| Timed { round: 0, number }).await?;
    marks(&pool).await?;
    sqlx::query("CREATE SEQUENCE places").execute(&pool).await?;
    let running = tokio::spawn({
        let app = app.clone();
        async move { app.run_until(std::future::pending::<()>()).await }
    });
    let relaying = tokio::spawn({
        let pool = pool.clone();
        async move {
            if let Err(error) = by_hand(pool).await {
                eprintln!("latency: the relay by hand has ended: {error}");
            }
        }
    });
    let (other, other_by_hand) = (Other::start(OURS, schema)?, Other::start(PLAIN, schema)?);
    let (mut rates, mut ours_99, mut plain_99) = (Rates::default(), Vec::new(), Vec::new());
    for round in 0..=arguments.rounds() {
        let begun = micros();
        let timed = |number| Timed { round: begun, number };
        let committed = commit(arguments.of(ROUND), |number| raise(app.clone(), timed(number))).await?;
        let ours = tokio::task::block_in_place(|| other.latencies(begun, &committed))?;
        let committed = commit(arguments.of(ROUND), |number| store(pool.clone(), timed(number))).await?;
        let plain = tokio::task::block_in_place(|| other_by_hand.latencies(begun, &committed))?;
        if round > 0 {
            rates.ours.push(median(&ours));
            rates.plain.push(median(&plain));
            ours_99.push(quantile(&ours, 0.99));
            plain_99.push(quantile(&plain, 0.99));
        }
    }
    rates.also.extend([("p99", median(&ours_99)), ("plain p99", median(&plain_99))]);
    relaying.abort();
    app.shutdown().await;
    running.await??;
    Ok(rates)
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Ok(schema) = std::env::var(CONSUMER) {
        return consume(&arguments.path, &schema).await;
    }
    let admin = PgPool::connect(&server("POSTGRES")?).await?;
    let schema = fresh_schema(&admin).await?;
    let rates = measure(&arguments, &schema).await?;
    drop_schema(&admin, &schema).await?;
    rates.tell()
}
