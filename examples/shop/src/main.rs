//! The program: serves the shop, or loads orders from a file.
#![expect(clippy::print_stdout, reason = "what the user asked for goes to standard output, the log to standard error")]

mod load;

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, Subcommand};
use cqrs::prelude::*;
use shop::{Mailer, Spool};

/// A small shop. Without a subcommand it serves HTTP.
#[derive(Parser)]
#[command(version)]
struct Cli {
    /// The directory that mails are written to; created if it is missing
    #[arg(long, env = "SHOP_SPOOL", default_value = "spool", global = true)]
    spool: PathBuf,
    /// The address to serve at; port 0 takes a free one
    #[arg(long, env = "SHOP_LISTEN", default_value = "127.0.0.1:3000")]
    listen: SocketAddr,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Places the orders of a file, one JSON object per line
    Load { file: PathBuf },
}

fn main() -> Result<(), cqrs::Error> {
    let runtime = tokio::runtime::Runtime::new()?;
    let done = runtime.block_on(run(Cli::parse()));
    // A file that does not answer, on a disk that is gone, keeps nobody from ending.
    runtime.shutdown_timeout(Duration::from_secs(1));
    done
}

async fn run(Cli { spool, listen, command }: Cli) -> Result<(), cqrs::Error> {
    // The audit log would tear the progress bar.
    let level = if command.is_some() { tracing::Level::WARN } else { tracing::Level::INFO };
    tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).init();

    explained("create", spool.display(), std::fs::create_dir_all(&spool))?;
    // `CQRS_STORE`, `CQRS_BROKER`, `CQRS_RUN`, ..: what runs, and on what.
    let app = shop::app().settings(Settings::load()?).provide_arc::<dyn Mailer>(Arc::new(Spool(spool)));
    let Some(Command::Load { file }) = command else { return serve(app, listen).await };
    let orders = explained("read", file.display(), std::fs::read_to_string(&file))?;
    let (app, mut loaded) = (app.await?, Ok(()));
    app.run_until(async { loaded = load::load(&app, &orders).await }).await?;
    Ok(loaded?)
}

async fn serve(app: cqrs::Builder, address: SocketAddr) -> Result<(), cqrs::Error> {
    let listener = explained("listen at", address, tokio::net::TcpListener::bind(address).await)?;
    let app = app.await?;
    let url = format!("http://{}/orders", listener.local_addr()?);
    let order = r#"{"id": "1001", "customer": "ada@example.com", "lines": [{"sku": "tea", "quantity": 2}]}"#;
    println!("Open. Try:\n  curl {url} -H 'content-type: application/json' -d '{order}'\n  curl {url}/1001");

    let web = axum::serve(listener, shop::router(app.clone())).with_graceful_shutdown(app.stopping());
    let web = tokio::spawn(web.into_future());
    app.run().await?; // until SIGTERM or ctrl-c
    // The last answers get a moment to leave; a client that never reads its own must not keep the shop open.
    let _ = tokio::time::timeout(Duration::from_secs(5), web).await;
    Ok(())
}

/// An I/O error that says what failed, and on what.
fn explained<T>(what: &str, thing: impl Display, result: std::io::Result<T>) -> Result<T, cqrs::BoxError> {
    result.map_err(|error| format!("cannot {what} {thing}: {error}").into())
}
