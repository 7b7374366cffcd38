//! Measures the framework beside the plain version of the same work, interleaved in one process.
//!
//! `cargo run --release -p bench -- [PATH..] [--quick] [--peers] [--json FILE]`; a path selects itself and everything below it.

mod app;
mod build;
mod consume;
mod dispatch;
mod generate;
mod harness;
mod requests;
mod servers;
mod sse;
mod start;
mod tx;

use std::io::Write;
use std::path::PathBuf;

use clap::Parser;

use crate::harness::{Bench, Scale};

/// Measures the framework beside the plain version of the same work.
#[derive(Parser)]
struct Arguments {
    /// What to measure: `dispatch`, `dispatch.bare`, `tx.sqlite`, `start`, `build`, ..; all without one.
    paths: Vec<String>,
    /// Fewer and shorter rounds: shows that everything runs, not how fast.
    #[arg(long)]
    quick: bool,
    /// Measures others in the same run, where `tests/peers` has them and they are installed.
    #[arg(long)]
    peers: bool,
    /// Writes one JSON line a path to a file.
    #[arg(long)]
    json: Option<PathBuf>,
}

fn main() -> std::io::Result<()> {
    let arguments = Arguments::parse();
    let benches: Vec<Bench> = [
        dispatch::benches(),
        requests::benches(),
        sse::benches(),
        tx::benches(),
        consume::benches(),
        servers::benches(),
        start::benches(),
        build::benches(),
    ]
    .concat();
    let chosen: Vec<&Bench> = benches.iter().filter(|bench| is_chosen(bench.path, &arguments.paths)).collect();
    if chosen.is_empty() {
        let known: Vec<&str> = benches.iter().map(|bench| bench.path).collect();
        return Err(std::io::Error::other(format!("no such path; the paths are: {}", known.join(", "))));
    }
    let scale = Scale { quick: arguments.quick, peers: arguments.peers };
    let mut lines = String::new();
    let mut out = std::io::stdout().lock();
    for bench in chosen {
        let report = (bench.run)(bench.path, scale);
        writeln!(out, "{report}")?;
        lines.push_str(&serde_json::to_string(&report)?);
        lines.push('\n');
    }
    if let Some(file) = arguments.json {
        std::fs::write(file, lines)?;
    }
    Ok(())
}

fn is_chosen(path: &str, chosen: &[String]) -> bool {
    chosen.is_empty()
        || chosen.iter().any(|wanted| {
            path == wanted || path.strip_prefix(wanted.as_str()).is_some_and(|rest| rest.starts_with('.'))
        })
}
