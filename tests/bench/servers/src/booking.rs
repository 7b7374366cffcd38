//! A command with a business row and an outbox row, and the same by hand: what the programs share that measure it, each on its
//! database.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::{Instant, SystemTime};

use cqrs::NotificationEvent;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Arguments, Peers, Rates, Result, rate};

const CALLS: u32 = 4_000;

/// What is raised.
#[derive(Debug, NotificationEvent, Serialize, Deserialize)]
#[event(name = "booked", topic = "bookings", key = id)]
pub struct Booked {
    /// Of the business row.
    pub id: i64,
}

/// The outbox row of it as somebody writes it by hand, with the same bytes.
#[derive(Debug)]
pub struct Row {
    /// Of the event.
    pub id: Uuid,
    /// Of the event.
    pub key: String,
    /// The body of the message, as it is published.
    pub payload: Vec<u8>,
    /// A JSON object.
    pub headers: String,
    /// Microseconds since 1970.
    pub raised_at: i64,
}

#[derive(Serialize)]
struct Body<'a> {
    payload: &'a Booked,
    event_id: Uuid,
    event_timestamp: String,
    event_name: &'a str,
    topic: &'a str,
}

impl Row {
    /// The row of an event, which a call raised.
    ///
    /// # Errors
    /// Fails where it is no JSON, or the clock is wrong.
    pub fn new(booked: &Booked, call: &str) -> Result<Self> {
        let (id, now) = (Uuid::now_v7(), SystemTime::now());
        let body = Body {
            payload: booked,
            event_id: id,
            event_timestamp: humantime::format_rfc3339_micros(now).to_string(),
            event_name: "booked",
            topic: "bookings",
        };
        let key = booked.id.to_string();
        let headers = BTreeMap::from([
            ("event_id", id.to_string()),
            ("event_name", "booked".to_owned()),
            ("event_version", "1".to_owned()),
            ("correlation_id", call.to_owned()),
            ("causation_id", call.to_owned()),
            ("key", key.clone()),
        ]);
        Ok(Self {
            id,
            key,
            payload: serde_json::to_vec(&body)?,
            headers: serde_json::to_string(&headers)?,
            raised_at: i64::try_from(now.duration_since(SystemTime::UNIX_EPOCH)?.as_micros())?,
        })
    }
}

/// How many calls a path makes at once: eight where it ends in `.8`, otherwise one.
pub fn at_once(arguments: &Arguments) -> u32 {
    if arguments.path.ends_with(".8") { 8 } else { 1 }
}

/// Calls a second, round by round, so many of them at once, and those of others.
///
/// # Errors
/// Fails when a call does.
pub async fn rounds<A, B>(
    arguments: &Arguments,
    at_once: u32,
    ours: impl Fn() -> A,
    by_hand: impl Fn() -> B,
    mut peers: Peers,
) -> Result<Rates>
where
    A: Future<Output = Result<()>>,
    B: Future<Output = Result<()>>,
{
    let count = arguments.of(CALLS);
    let mut rates = Rates::default();
    for round in 0..=arguments.rounds() {
        let ours = calls(count, at_once, &ours).await?;
        let by_hand = calls(count, at_once, &by_hand).await?;
        if round > 0 {
            rates.ours.push(ours);
            rates.plain.push(by_hand);
            peers.round(&mut rates.peers)?;
        }
    }
    Ok(rates)
}

async fn calls<F: Future<Output = Result<()>>>(count: u32, at_once: u32, call: impl Fn() -> F) -> Result<f64> {
    let begun = Instant::now();
    let one = || async {
        for _ in 0..count / at_once {
            call().await?;
        }
        Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    };
    futures_util::future::try_join_all((0..at_once).map(|_| one())).await?;
    Ok(rate(count / at_once * at_once, begun.elapsed()))
}
