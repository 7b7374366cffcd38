//! A fallback answers where its handler has failed: after an error that counts, a timeout, or behind an open breaker.
//!
//! `cargo run -p request_fallback`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]
#![allow(clippy::unused_async, reason = "a handler is async, whether it waits for something or not")]

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cqrs::prelude::*;
use cqrs::sqlx::{self, Sqlite, SqlitePool};
use cqrs::testing::TestApp;

#[derive(Debug)]
enum QuoteError {
    Unavailable(u16),
    UnknownSymbol,
}

impl fmt::Display for QuoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(code) => write!(f, "the exchange answered {code}"),
            Self::UnknownSymbol => f.write_str("no such symbol"),
        }
    }
}

impl std::error::Error for QuoteError {}

/// A price, and where it is from.
#[derive(Query)]
#[query(response = String, error = QuoteError)]
struct GetQuote {
    symbol: &'static str,
}

/// The exchange: it knows how often it was asked.
#[derive(Default)]
struct Exchange {
    asked: AtomicU32,
}

/// Around it: breaker(retry(timeout(handler))), then the fallback. `on` says which errors count; the others reach the
/// caller as they are, and mean nothing to the breaker.
#[query_handler(
    fallback = cached_quote,
    on = [QuoteError::Unavailable(_)],
    timeout = "50ms",
    retry(max = 2, first = "1ms"),
    breaker(failures = 2, open_for = "30s")
)]
async fn quote(q: &GetQuote, exchange: Inject<Exchange>) -> Result<String, QuoteError> {
    exchange.asked.fetch_add(1, Ordering::Relaxed);
    match q.symbol {
        "ACME" => Ok("42 from the exchange".to_owned()),
        "SLOW" => std::future::pending().await,
        "DOWN" => Err(QuoteError::Unavailable(503)),
        _ => Err(QuoteError::UnknownSymbol),
    }
}

#[fallback]
async fn cached_quote(q: &GetQuote, cause: Cause<QuoteError>) -> Result<String, QuoteError> {
    Ok(format!("40 from the cache for {}, because {cause}", q.symbol))
}

/// A booking writes and raises; what a failed attempt wrote and raised is undone before the fallback runs.
#[derive(Command, Clone)]
#[command(response = &'static str, error = cqrs::BoxError)]
struct Book;

#[derive(DomainEvent)]
struct Booked(&'static str);

#[command_handler(fallback = book_by_hand)]
async fn book(_cmd: Book, tx: &mut Tx<Sqlite>, events: &mut Events) -> Result<&'static str, cqrs::BoxError> {
    sqlx::query("INSERT INTO bookings VALUES ('by machine')").execute(&mut **tx).await?;
    events.raise(Booked("the machine"));
    Err("the machine is out of paper".into())
}

#[fallback]
async fn book_by_hand(_cmd: Book, tx: &mut Tx<Sqlite>, events: &mut Events) -> Result<&'static str, cqrs::BoxError> {
    sqlx::query("INSERT INTO bookings VALUES ('by hand')").execute(&mut **tx).await?;
    events.raise(Booked("hand"));
    Ok("booked by hand")
}

#[event_handler]
async fn booked(e: &Booked) {
    println!("booked by {}", e.0);
}

struct Schema;

#[provider]
async fn schema(pool: Inject<SqlitePool>) -> Result<Schema, sqlx::Error> {
    sqlx::query("CREATE TABLE bookings (how TEXT)").execute(&*pool).await?;
    Ok(Schema)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let builder = cqrs::bootstrap!().store(Store::url("sqlite://bookings.db")).provide(Exchange::default());
    let app = TestApp::new(builder).await?; // in a temporary place

    for symbol in ["ACME", "NONE", "DOWN", "SLOW", "ACME"] {
        match app.query(GetQuote { symbol }).await {
            Ok(quote) => println!("{symbol}: {quote}"),
            Err(error) => println!("{symbol}: {:?}: {error}", error.kind()),
        }
    }
    for breaker in app.breakers() {
        println!("{} is {} after {} failures", breaker.name, breaker.phase, breaker.failures);
    }
    app.advance(Duration::from_secs(30)).await;
    println!("half a minute later: {}", app.query(GetQuote { symbol: "ACME" }).await?);

    println!("{}", app.send(Book).await.map_err(|error| error.to_string())?);
    Ok(())
}
