//! An import whose progress a page shows, as server-sent events. The connection may break: the client comes back with the id
//! it had last, and the import goes on from there.
//!
//! `cargo run -p streaming_sse` shows what goes over the line, `cargo run -p streaming_sse -- serve` serves the page.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

mod client;
mod import;

use std::time::Duration;

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use cqrs::axum::sse;
use cqrs::prelude::*;
use import::{CountBooks, ImportBooks, Pace};
use tokio::net::TcpListener;

fn routes() -> Router<App> {
    // Ids are those of the lines, since every line is an item.
    let import = sse::<ImportBooks>().resume(|done, import: ImportBooks| ImportBooks { done, ..import });
    Router::new().route("/", get(async || Html(include_str!("../page.html")))).route("/imports/{file}", get(import))
}

#[tokio::main]
async fn main() -> Result<(), cqrs::Error> {
    let serves = std::env::args().nth(1).is_some_and(|word| word == "serve");
    let directory = tempfile::tempdir()?;
    let app = cqrs::bootstrap!()
        .store(Store::url(format!("sqlite://{}", directory.path().join("books.db").display())))
        .provide(Pace(if serves { Duration::from_millis(400) } else { Duration::ZERO }))
        .await?;

    let listener = TcpListener::bind(if serves { "127.0.0.1:3000" } else { "127.0.0.1:0" }).await?;
    let address = listener.local_addr()?;
    let web = axum::serve(listener, routes().with_state(app.clone())).with_graceful_shutdown(app.stopping());
    let web = tokio::spawn(web.into_future());
    if serves {
        println!("Open http://{address} in a browser.");
        app.run().await?; // until SIGTERM or ctrl-c; open streams end at once
    } else {
        client::print(address, "/imports/books", "", 3).await?;
        println!("(the connection breaks)\n");
        client::print(address, "/imports/books", "3", usize::MAX).await?;
        println!("\nWhat a browser does that missed the end, and what it gets where there is nothing to import:\n");
        client::print(address, "/imports/books", "end", usize::MAX).await?;
        client::print(address, "/imports/plays", "", usize::MAX).await?;
        println!("\n{} books are on the shelf", app.query(CountBooks).await?);
        app.shutdown().await;
    }
    let _ = tokio::time::timeout(Duration::from_secs(5), web).await;
    Ok(())
}
