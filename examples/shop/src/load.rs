//! Loads orders from a file of JSON lines.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cqrs::{App, BoxError};
use indicatif::{ProgressBar, ProgressStyle};
use shop::{ImportOrders, Imported};

/// Imports the order of each line, waits until the mails have followed, and sums up. Loading a file again does no harm: an
/// order that is there already is accepted, and nothing happens.
pub(crate) async fn load(app: &App, text: &str) -> Result<(), BoxError> {
    // What is no JSON is a text: the import says of its line that it is no order.
    let orders: Vec<_> = text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| line.into())).collect();
    let style = ProgressStyle::with_template("{bar:40} {percent:>3}% {msg}")?;
    let bar = ProgressBar::new(orders.len() as u64).with_style(style);
    let (mut accepted, mut refused, begun) = (0_u32, BTreeMap::<_, u32>::new(), Instant::now());
    let mut import = app.stream(ImportOrders(orders));
    while let Some(item) = import.next().await {
        bar.inc(1);
        match item? {
            Imported::Accepted { .. } => accepted += 1,
            Imported::Refused { line, reason, why } => {
                bar.suspend(|| eprintln!("line {line}: {why}"));
                *refused.entry(reason).or_default() += 1;
            }
        }
    }
    let rate = f64::from(accepted + refused.values().sum::<u32>()) / begun.elapsed().as_secs_f64();
    while let left @ 1.. = app.counts().await?.work {
        bar.set_message(format!("{left} mails to go"));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bar.finish_with_message("done");
    println!("{accepted} accepted, {} refused; {rate:.0} orders per second", refused.values().sum::<u32>());
    for (reason, count) in refused {
        println!("{count:>6} {reason}");
    }
    let dead = app.dead_letters(usize::MAX).await?;
    println!("dead letters: {}", dead.len());
    for letter in dead {
        println!("  {:?} {} {}: {}", letter.id.source, letter.id.seq, letter.handler, letter.error);
    }
    Ok(())
}
