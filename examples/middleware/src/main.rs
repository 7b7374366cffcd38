//! A middleware is a function around every call of the kinds it names: commands, queries, streams, events.
//!
//! `cargo run -p middleware`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]
#![allow(clippy::unused_async, reason = "a handler is async, whether it waits for something or not")]

use std::time::Duration;

use cqrs::prelude::*;

/// The lowest `order` is outermost. Without `kinds` it is around every call.
#[middleware(order = 10)]
async fn trace(call: Call<'_>, next: Next<'_>) -> Outcome {
    println!("> {} {}", call.kind(), call.debug());
    let outcome = next.run().await;
    match outcome.error() {
        None => println!("< {} done", call.name()),
        Some(error) => println!("< {} failed: {error}", call.name()),
    }
    outcome
}

/// Inside `trace`. Turns a call down without running it: the handler never sees it.
#[middleware(order = 20, kinds = [command])]
async fn authorise(call: Call<'_>, next: Next<'_>) -> Outcome {
    match call.meta().header("user") {
        Some(_) => next.run().await,
        None => Outcome::reject("log in first"),
    }
}

/// Takes dependencies as handlers do, and knows how long the rest of the call took.
#[middleware(order = 30, kinds = [command, query])]
async fn watch(call: Call<'_>, next: Next<'_>, limit: Inject<Limit>) -> Outcome {
    let outcome = next.run().await;
    if outcome.elapsed() > limit.0 {
        println!("  {} is slow", call.name());
    }
    outcome
}

struct Limit(Duration);

/// Looks at the message itself. The handler is given a clone then, so `Transfer` is `Clone`.
#[middleware(order = 40, kinds = [command])]
async fn cap(call: Call<'_>, next: Next<'_>) -> Outcome {
    match call.message::<Transfer>() {
        Some(transfer) if transfer.amount > 1000 => Outcome::reject(format!("{} is too much", transfer.amount)),
        _ => next.run().await,
    }
}

#[derive(Command, Clone, Debug)]
struct Transfer {
    amount: u32,
}

#[derive(DomainEvent, Debug)]
struct Transferred;

#[derive(Query, Debug)]
struct Report;

#[command_handler]
async fn transfer(cmd: Transfer, events: &mut Events) -> Result<(), cqrs::BoxError> {
    if cmd.amount == 0 {
        return Err("nothing to transfer".into());
    }
    events.raise(Transferred);
    Ok(())
}

#[event_handler]
async fn notify(_e: &Transferred) {
    println!("  notified");
}

#[query_handler]
async fn report(_q: Report) {
    tokio::time::sleep(Duration::from_millis(30)).await;
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), cqrs::Error> {
    let app = cqrs::bootstrap!().provide(Limit(Duration::from_millis(20))).await?;

    app.send(Transfer { amount: 5 }).header("user", "ada").await?;

    for (amount, user) in [(5, None), (2000, Some("ada")), (0, Some("ada"))] {
        let call = app.send(Transfer { amount });
        let call = match user {
            Some(user) => call.header("user", user),
            None => call,
        };
        match call.await {
            Err(DispatchError::Rejected { source, .. }) => println!("rejected: {source}"),
            Err(error) => println!("{:?}: {error}", error.kind()),
            Ok(()) => println!("done"),
        }
    }

    app.query(Report).await?;
    Ok(())
}
