//! What an app with nothing to do asks of PostgreSQL, in queries a second: `idle`.
//!
//! The app has a relay, a consumer, a durable handler and timers. It reaches the database by a way that counts the statements that
//! its connections send, to be executed or as text. Beside it, over the same seconds, a plain program looks once a second whether
//! there are rows in the outbox, work and timers that are due.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bench_servers::{Arguments, Rates, Result, drop_schema, fresh_schema, rate, server};
use clap::Parser;
use cqrs::prelude::*;
use cqrs::sqlx::postgres::{PgConnectOptions, PgSslMode};
use cqrs::sqlx::{self, ConnectOptions, PgPool};
use cqrs_tests::proxy::Proxy;
use serde::{Deserialize, Serialize};

/// Until everything that begins has begun, and every pause is as long as it gets.
const SETTLED: Duration = Duration::from_secs(6);

#[derive(NotificationEvent, Serialize, Deserialize)]
#[event(name = "idled", topic = "bench_idle")]
struct Idled;

#[derive(DomainEvent, Serialize, Deserialize)]
#[event(name = "noticed")]
struct Noticed;

#[derive(Command, Serialize, Deserialize)]
#[command(error = std::convert::Infallible, name = "remind")]
struct Remind;

#[event_handler(group = "bench_idle")]
async fn hear(_e: Idled) {}

#[event_handler(durable)]
async fn note(_e: &Noticed) {}

#[command_handler]
async fn remind(_cmd: Remind) {}

/// What has been sent to a database, by way of a port that counts it.
struct Counted {
    queries: Arc<AtomicU32>,
    options: PgConnectOptions,
    _proxy: Proxy,
}

impl Counted {
    fn new(options: &PgConnectOptions) -> Result<Self> {
        let server = format!("{}:{}", options.get_host(), options.get_port());
        let proxy = Proxy::to(server.parse().map_err(|_| format!("`{server}` is no address with a port"))?);
        let queries = Arc::new(AtomicU32::new(0));
        let counting = Arc::clone(&queries);
        proxy.cut_after(move |piece| {
            counting.fetch_add(statements(piece), Ordering::Relaxed);
            false
        });
        let address = proxy.address();
        let options = options.clone().host(&address.ip().to_string()).port(address.port()).ssl_mode(PgSslMode::Disable);
        Ok(Self { queries, options, _proxy: proxy })
    }

    fn take(&self) -> u32 {
        self.queries.swap(0, Ordering::Relaxed)
    }
}

/// How long a text is with nothing in it: its length and its end.
const EMPTY: usize = 5;

/// How many statements messages of the protocol execute: `E`, which executes what was prepared, and `Q`, which is text. One without any text
/// executes nothing: it is how a connection is asked whether it is still there, where sqlx sends a `Sync`. The first message of a
/// connection has no letter.
fn statements(mut piece: &[u8]) -> u32 {
    let mut count = 0;
    while let [letter, a, b, c, d, ..] = piece {
        if *letter == 0 {
            break;
        }
        let length = usize::try_from(u32::from_be_bytes([*a, *b, *c, *d])).unwrap_or(usize::MAX);
        count += u32::from(*letter == b'E' || (*letter == b'Q' && length > EMPTY));
        piece = piece.get(1_usize.saturating_add(length)..).unwrap_or_default();
    }
    count
}

async fn by_hand(pool: PgPool) -> Result<()> {
    let looks = [
        "SELECT seq FROM cqrs_outbox WHERE state = 'ready' ORDER BY seq LIMIT 1",
        "SELECT seq FROM cqrs_work WHERE kind <> 'timer' AND state = 'ready' ORDER BY seq LIMIT 1",
        "SELECT seq FROM cqrs_work WHERE kind = 'timer' AND due_at <= 0 ORDER BY due_at LIMIT 1",
    ];
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    loop {
        seconds.tick().await;
        for look in looks {
            sqlx::query(look).fetch_optional(&pool).await?;
        }
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let url = server("POSTGRES")?;
    let admin = PgPool::connect(&url).await?;
    let schema = fresh_schema(&admin).await?;
    let options = url.parse::<PgConnectOptions>()?;
    let (ours, plain) = (Counted::new(&options)?, Counted::new(&options)?);
    let store = Store::url(ours.options.to_url_lossy().to_string()).schema(&schema);
    let app = cqrs::bootstrap!().store(store).broker(Broker::url(server("KAFKA")?)).await?;
    let running = tokio::spawn({
        let app = app.clone();
        async move { app.run_until(std::future::pending::<()>()).await }
    });
    let pool = PgPool::connect_with(plain.options.clone().options([("search_path", &schema)])).await?;
    let looking = tokio::spawn(by_hand(pool));
    tokio::time::sleep(SETTLED).await;
    let mut rates = Rates::default();
    let span = Duration::from_secs(if arguments.quick { 5 } else { 10 });
    ours.take();
    plain.take();
    for _ in 0..arguments.rounds() {
        tokio::time::sleep(span).await;
        rates.ours.push(rate(ours.take(), span));
        rates.plain.push(rate(plain.take(), span));
    }
    looking.abort();
    app.shutdown().await;
    running.await??;
    drop_schema(&admin, &schema).await?;
    rates.tell()
}
