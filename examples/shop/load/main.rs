//! Loads orders from a file of JSON lines: the shop's handlers without its HTTP, in a program of its own.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "sums go to standard output, what is refused to standard error"
)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use cqrs::BoxError;
use cqrs::prelude::*;
use indicatif::{ProgressBar, ProgressStyle};
use shop::{ImportOrders, Imported, Mailer, Spool};

/// Places the orders of a file.
#[derive(Parser)]
#[command(version)]
struct Cli {
    /// One JSON object per line
    file: PathBuf,
    /// The directory that mails are written to; created if it is missing
    #[arg(long, env = "SHOP_SPOOL", default_value = "spool")]
    spool: PathBuf,
}

#[tokio::main]
async fn main() -> Result<(), cqrs::Error> {
    let Cli { file, spool } = Cli::parse();
    // The audit log would tear the progress bar.
    tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_writer(std::io::stderr).init();

    std::fs::create_dir_all(&spool)?;
    let orders = std::fs::read_to_string(&file)
        .map_err(|error| BoxError::from(format!("cannot read {}: {error}", file.display())))?;
    let app = shop::app().settings(Settings::load()?).provide_arc::<dyn Mailer>(Arc::new(Spool(spool))).await?;
    let mut loaded = Ok(());
    app.run_until(async { loaded = load(&app, &orders).await }).await?;
    Ok(loaded?)
}

/// Imports the order of each line, waits until the mails have followed, and sums up. Loading a file again does no harm: an
/// order that is there already is accepted, and nothing happens.
async fn load(app: &App, text: &str) -> Result<(), BoxError> {
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
