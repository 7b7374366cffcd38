//! Event handlers have retries, timeouts, breakers and fallbacks like any other; what a failed one raised is undone.
//!
//! `cargo run -p event_fallback`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]
#![allow(clippy::unused_async, reason = "a handler is async, whether it waits for something or not")]

use cqrs::prelude::*;
use cqrs::testing::TestApp;
use serde::{Deserialize, Serialize};

#[derive(Command)]
struct PlaceOrder;

#[derive(DomainEvent, Clone, Serialize, Deserialize)]
struct OrderPlaced {
    id: u32,
}

#[command_handler]
async fn place_order(_cmd: PlaceOrder, events: &mut Events) {
    events.raise(OrderPlaced { id: 7 });
}

/// After the commit, in this process. It is tried twice; then its fallback runs.
#[event_handler(order = 1, fallback = show_later, retry(max = 2, first = "1ms"))]
async fn show(e: &OrderPlaced, events: &mut Events) -> Result<(), String> {
    println!("showing order {}", e.id);
    events.raise(Shown("on the screen"));
    Err("the screen is dark".to_owned())
}

#[fallback]
async fn show_later(e: &OrderPlaced, cause: Cause<String>, events: &mut Events) {
    println!("order {} is shown later: {cause}", e.id);
    events.raise(Shown("later"));
}

/// Of the two that were raised, only the fallback's is left.
#[derive(DomainEvent)]
struct Shown(&'static str);

#[event_handler]
async fn shown(e: &Shown) {
    println!("shown {}", e.0);
}

/// Stored with the order, run at least once. Its fallback is part of the attempt: had it failed as well, the store would
/// try both again. An error that `on` does not list is not tried again at all.
#[event_handler(durable, retry(max = 3), timeout = "50ms", fallback = by_post, on = [MailError::Down])]
async fn mail(e: &OrderPlaced) -> Result<(), MailError> {
    println!("mailing order {}", e.id);
    Err(MailError::Down)
}

#[fallback]
async fn by_post(e: &OrderPlaced, cause: Cause<MailError>) -> Result<(), MailError> {
    println!("order {} goes by post: {cause}", e.id);
    Ok(())
}

#[derive(Debug)]
enum MailError {
    Down,
}

impl std::fmt::Display for MailError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the mail server is down")
    }
}

impl std::error::Error for MailError {}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), cqrs::Error> {
    let app = TestApp::new(cqrs::bootstrap!().store(Store::url("sqlite://orders.db"))).await?;
    app.send(PlaceOrder).await?;
    println!("-- committed; what is stored comes next");
    app.settle().await;
    println!("dead letters: {}", app.dead_letters(10).await?.len());
    Ok(())
}
