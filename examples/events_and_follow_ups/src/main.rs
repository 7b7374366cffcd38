//! Domain events are facts that stay in the service. Plain handlers run after the commit, inline ones inside the unit
//! of work; what a handler raises is handled in turn.
//!
//! `cargo run -p events_and_follow_ups`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]
#![allow(clippy::unused_async, reason = "a handler is async, whether it waits for something or not")]

use cqrs::prelude::*;
use tokio::sync::Barrier;

#[derive(Command)]
#[command(response = u32)]
struct PlaceOrder {
    id: u32,
    pieces: u32,
}

#[derive(DomainEvent)]
struct OrderPlaced {
    id: u32,
    pieces: u32,
}

#[derive(DomainEvent)]
struct StockRanLow {
    left: u32,
}

#[command_handler]
async fn place_order(cmd: PlaceOrder, events: &mut Events) -> u32 {
    println!("order {}: placed", cmd.id);
    events.raise(OrderPlaced { id: cmd.id, pieces: cmd.pieces });
    cmd.id
}

/// Inline: runs before the commit, and its error fails the command. Nothing that was raised takes effect then.
#[event_handler(inline)]
async fn reserve(e: &OrderPlaced) -> Result<(), cqrs::BoxError> {
    if e.pieces > 10 {
        return Err(format!("{} pieces are more than there are", e.pieces).into());
    }
    println!("order {}: {} pieces reserved", e.id, e.pieces);
    Ok(())
}

/// Plain: runs after the commit. What it raises, a follow-up, joins the queue.
#[event_handler(order = 1)]
async fn count_stock(e: &OrderPlaced, events: &mut Events) {
    println!("order {}: stock counted", e.id);
    if e.pieces > 5 {
        events.raise(StockRanLow { left: 10 - e.pieces });
    }
}

/// A plain handler that fails neither stops the others nor hides the command's answer.
#[event_handler(order = 2)]
async fn send_mail(_e: &OrderPlaced) -> Result<(), cqrs::BoxError> {
    Err("the mail server is down".into())
}

#[event_handler(order = 3)]
async fn print_label(e: &OrderPlaced) {
    println!("order {}: label printed", e.id);
}

/// Follow-ups run breadth-first: after all handlers of the events one level above.
#[event_handler]
async fn reorder(e: &StockRanLow) {
    println!("{} pieces left: reordered", e.left);
}

#[derive(DomainEvent)]
struct DayEnded;

/// These two meet: each waits for the other. With `event_concurrency(1)`, which is the default, the first would wait for
/// ever.
#[event_handler]
async fn close_the_till(_e: &DayEnded, meeting: Inject<Barrier>) {
    if meeting.wait().await.is_leader() {
        println!("till and shop closed side by side");
    }
}

#[event_handler]
async fn close_the_shop(_e: &DayEnded, meeting: Inject<Barrier>) {
    if meeting.wait().await.is_leader() {
        println!("till and shop closed side by side");
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), cqrs::Error> {
    let app = cqrs::bootstrap!()
        .provide(Barrier::new(2))
        .event_concurrency(2)
        .on_event_error(|error| {
            let own = error.error().map(ToString::to_string).unwrap_or_default();
            println!("{error}: {own}");
        })
        .await?;

    // Answers after the plain handlers and their follow-ups have ended.
    println!("answer: {}\n", app.send(PlaceOrder { id: 1, pieces: 8 }).await?);

    if let Err(error) = app.send(PlaceOrder { id: 2, pieces: 11 }).await {
        println!("{:?}: {error}\n", error.kind());
    }

    // Outside a handler, an event is published: its handlers run as if it had been raised in one.
    app.publish(DayEnded).await?;
    println!("failed handlers: {}", app.event_error_count());
    Ok(())
}
