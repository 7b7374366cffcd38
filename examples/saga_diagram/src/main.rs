//! The diagrams of a saga, as Markdown: what it may do, drawn from its registration without connecting to anything, and what one of it
//! has done.
//!
//! `cargo run -p saga_diagram`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use cqrs::prelude::*;
use cqrs::{BoxError, SagaError};
use serde::{Deserialize, Serialize};

#[saga(name = "order", steps = [reserve, (print_label, thank), hand_over])]
#[derive(Debug, Serialize, Deserialize)]
struct Order {
    number: u32,
}

#[saga_step(compensate = release, retry(max = 3, first = "1s"))]
async fn reserve(_cx: &mut Order) -> Result<(), BoxError> {
    Ok(())
}

#[compensation]
async fn release(_cx: &mut Order) {}

#[saga_step(compensate = none, timeout = "5s", fallback = write_label)]
async fn print_label(_cx: &Order) -> Result<(), BoxError> {
    Err("the printer is out of paper".into())
}

#[fallback]
async fn write_label(_cx: &Order) -> Result<(), BoxError> {
    Ok(())
}

#[saga_step(compensate = none)]
async fn thank(_cx: &Order) {}

#[saga_step(pivot)]
async fn hand_over(cx: &mut Order) -> Result<(), BoxError> {
    if cx.number == 1 { Err("the carrier is on strike".into()) } else { Ok(()) }
}

/// The same each time: when it was, and how long it took, is left out.
fn without_times(timeline: &str) -> String {
    let mut text = String::new();
    for line in timeline.lines() {
        let mut is_time = false;
        for word in line.split_inclusive(' ') {
            let tail = word.trim_end_matches([' ', ',']).len();
            text.push_str(if is_time { ".." } else { &word[..tail] });
            text.push_str(&word[tail..]);
            is_time = matches!(word, "at " | "after ");
        }
        text.push('\n');
    }
    text
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    // A builder that is not awaited draws what is registered.
    let builder = cqrs::bootstrap!().store(Store::url("memory:"));
    let order = builder.diagram().saga::<Order>(); // or by its name, as a command line would: `saga_named("order")`
    println!("```mermaid\n{}```\n", order.sequence());
    println!("```mermaid\n{}```\n", order.class());

    let app = builder.await?;
    let ended = app.saga(Order { number: 1 }).id("order-1").await;
    assert!(matches!(ended, Err(SagaError::Compensated { step, .. }) if step == "hand_over"));
    let timeline = app.sagas().timeline("order-1").await?.ok_or("it was started")?;
    println!("```mermaid\n{}```", without_times(&timeline));
    app.shutdown().await;
    Ok(())
}
