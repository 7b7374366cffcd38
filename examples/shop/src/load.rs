//! Loads orders from a file of JSON lines.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};

use cqrs::{App, DispatchError::Handler};
use indicatif::{ProgressBar, ProgressStyle};
use shop::{PlaceOrder, ShopError::Database};

/// Places the order of each line, waits until stock and mail have followed, and sums up. Loading a file again does no
/// harm: an order that is there already is accepted, and nothing happens.
pub(crate) async fn load(app: &App, file: File) -> Result<(), cqrs::BoxError> {
    let style = ProgressStyle::with_template("{bar:40} {percent:>3}% {msg}")?;
    let bar = ProgressBar::new(file.metadata()?.len()).with_style(style);
    let (mut accepted, mut unreadable, mut refused) = (0_u32, 0_u32, BTreeMap::<&str, u32>::new());
    let begun = Instant::now();
    for (number, line) in (1_u32..).zip(BufReader::new(file).split(b'\n')) {
        let line = line?;
        bar.inc(line.len() as u64 + 1);
        let order = serde_json::from_slice::<PlaceOrder>(&line);
        let Ok(order) = order.inspect_err(|error| bar.suspend(|| eprintln!("line {number}: {error}"))) else {
            unreadable += 1;
            continue;
        };
        match app.send(order).await {
            Ok(_) => accepted += 1,
            Err(Handler(no)) if !matches!(no, Database(_)) => *refused.entry(no.into()).or_default() += 1,
            Err(error) => return Err(error.into()),
        }
        bar.set_message(format!("{accepted} accepted"));
    }
    let no = refused.values().sum::<u32>();
    let rate = f64::from(accepted + no) / begun.elapsed().as_secs_f64();
    while let left @ 1.. = app.counts().await.map(|counts| counts.outbox + counts.work)? {
        bar.set_message(format!("{left} mails and stock moves to go"));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bar.finish_with_message("done");
    println!("{accepted} accepted, {no} refused, {unreadable} unreadable; {rate:.0} orders per second");
    for (why, count) in refused {
        println!("{count:>6} {why}");
    }
    Ok(())
}
