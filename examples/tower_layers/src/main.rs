//! What tower has for services stands around calls too: limits, timeouts, load shedding, and layers of your own.
//!
//! `cargo run -p tower_layers`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::fmt::Debug;
use std::time::Duration;

use cqrs::CallKind;
use cqrs::prelude::*;
use cqrs::tower::around;
use tower::ServiceBuilder;
use tower::load_shed::error::Overloaded;
use tower::timeout::error::Elapsed;

#[derive(Command, Debug)]
struct Bake {
    minutes: u64,
}

/// One oven. A minute is a millisecond here.
#[command_handler]
async fn bake(cmd: Bake) {
    tokio::time::sleep(Duration::from_millis(cmd.minutes)).await;
}

#[derive(Query, Debug)]
#[query(response = &'static str)]
struct AskSupplier {
    minutes: u64,
}

#[query_handler]
async fn ask_supplier(q: AskSupplier) -> &'static str {
    tokio::time::sleep(Duration::from_millis(q.minutes)).await;
    "flour on Monday"
}

fn app() -> cqrs::Builder {
    cqrs::bootstrap!()
        // Outermost: sees every call, those that are turned down further in as well.
        .layer(
            around(
                [CallKind::Command, CallKind::Query],
                ServiceBuilder::new().map_request(|request: cqrs::tower::Request| {
                    println!("> {} {}", request.kind(), request.name());
                    request
                }),
            )
            .order(-10),
        )
        // One command at a time; what would have to wait is turned down instead.
        .layer(around([CallKind::Command], ServiceBuilder::new().load_shed().concurrency_limit(1)))
        // Three questions a minute, each answered in time or not at all.
        .layer(around(
            [CallKind::Query],
            ServiceBuilder::new().load_shed().rate_limit(3, Duration::from_mins(1)).timeout(Duration::from_millis(100)),
        ))
}

/// How a call went: a layer's error is the source of `Rejected`.
fn told<T: Debug>(answer: Result<T, DispatchError<cqrs::BoxError>>) -> String {
    match answer {
        Ok(answer) => format!("{answer:?}"),
        Err(DispatchError::Rejected { source, .. }) if source.is::<Overloaded>() => "too much at once".to_owned(),
        Err(DispatchError::Rejected { source, .. }) if source.is::<Elapsed>() => "too slow".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), cqrs::Error> {
    let app = app().await?;

    let (bread, rolls) = tokio::join!(app.send(Bake { minutes: 40 }), app.send(Bake { minutes: 15 }));
    println!("bread: {}, rolls: {}", told(bread), told(rolls));
    println!("rolls again: {}", told(app.send(Bake { minutes: 15 }).await));

    for minutes in [5, 5000, 5, 5] {
        println!("supplier: {}", told(app.query(AskSupplier { minutes }).await));
    }
    Ok(())
}
