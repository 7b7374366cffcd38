//! A stream falls back before its first item, never after it: what was delivered is not delivered again.
//!
//! `cargo run -p streaming_fallback`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use cqrs::prelude::*;

/// The rows of a report, from the warehouse or from yesterday's copy.
#[derive(Query)]
#[query(item = String, error = cqrs::BoxError)]
struct Report {
    fails_after: Option<u32>,
}

/// `timeout` is the longest wait for one item. The time that the reader takes between two of them is its own.
#[query_handler(fallback = from_copy, timeout = "50ms")]
async fn from_warehouse(q: &Report, items: &mut Items<String>) -> Result<(), String> {
    for row in 0..3 {
        if q.fails_after == Some(row) {
            return Err(format!("the warehouse burns after {row} rows"));
        }
        items.send(format!("row {row}")).await;
    }
    Ok(())
}

#[fallback]
async fn from_copy(_q: &Report, cause: Cause<String>, items: &mut Items<String>) {
    items.send(format!("yesterday's rows: {cause}")).await;
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), cqrs::Error> {
    let app = cqrs::bootstrap!().await?;
    for fails_after in [None, Some(0), Some(2)] {
        println!("fails after: {fails_after:?}");
        // Who reads may bound the whole stream and each item as well.
        let mut rows = app.stream(Report { fails_after }).timeout(Duration::from_secs(5));
        while let Some(row) = rows.next().await {
            match row {
                Ok(row) => println!("  {row}"),
                Err(error) => println!("  {:?}: {error}", error.kind()),
            }
        }
    }
    Ok(())
}
