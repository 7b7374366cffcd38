//! The progress of a saga on a page, as server-sent events. The page only looks: closed, it stops nothing, and opened again it goes on
//! after the last step that it had.
//!
//! `cargo run -p saga_sse` shows what goes over the line, `cargo run -p saga_sse -- serve` serves the page.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

mod client;
mod order;
mod progress;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::response::Html;
use axum::routing::{get, post};
use cqrs::BoxError;
use cqrs::axum::{command, sse};
use cqrs::prelude::*;
use order::{Order, Pace, PlaceOrder};
use progress::WatchOrder;
use tokio::net::TcpListener;

fn routes() -> Router<App> {
    // Ids are the numbers of a saga's log, since every entry is an item.
    let watch = sse::<WatchOrder>().resume(|after, order: WatchOrder| WatchOrder { after, ..order });
    Router::new()
        .route("/", get(async || Html(include_str!("../page.html"))))
        .route("/orders", post(command::<PlaceOrder>().status(202)))
        .route("/orders/{number}/progress", get(watch))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let serves = std::env::args().nth(1).is_some_and(|word| word == "serve");
    let directory = tempfile::tempdir()?;
    // What is served is kept: a server that is killed and started again goes on with its sagas.
    let folder = if serves { std::env::temp_dir() } else { directory.path().to_owned() };
    let pace = Arc::new(if serves { Pace::steady(Duration::from_secs(1)) } else { Pace::by_hand() });
    let app = cqrs::bootstrap!()
        .store(Store::url(format!("sqlite://{}", folder.join("saga_sse.db").display())))
        .lease(Duration::from_secs(2))
        .provide_arc(Arc::clone(&pace))
        .await?;

    let listener = TcpListener::bind(if serves { "127.0.0.1:3000" } else { "127.0.0.1:0" }).await?;
    let address = listener.local_addr()?;
    let web = axum::serve(listener, routes().with_state(app.clone())).with_graceful_shutdown(app.stopping());
    let web = tokio::spawn(web.into_future());
    if serves {
        println!("Open http://{address} in a browser.");
        app.run().await?; // until SIGTERM or ctrl-c; takes up the sagas of a process that is gone
    } else {
        show(&app, &pace, address).await?;
        app.shutdown().await;
    }
    let _ = tokio::time::timeout(Duration::from_secs(5), web).await;
    Ok(())
}

async fn show(app: &App, pace: &Pace, address: SocketAddr) -> Result<(), BoxError> {
    client::post(address, "/orders", r#"{"number":1,"item":"tea"}"#).await?;
    pace.allow(2);
    client::watch(address, "/orders/1/progress", "", 2).await?;
    let (row, _) = app.sagas().get("order-1").await?.ok_or("it was started")?;
    println!("(the page is closed; the saga is going {})\n", row.phase.as_str());

    pace.allow(100);
    let order: Order = app.sagas().join("order-1").await?;
    println!("With nobody watching, the saga has ended: {order:?}\n");
    println!("The page is opened again, and has what it missed:\n");
    client::watch(address, "/orders/1/progress", "2", usize::MAX).await?;

    println!("What the carrier does not take is undone, step by step:\n");
    client::post(address, "/orders", r#"{"number":2,"item":"piano"}"#).await?;
    client::watch(address, "/orders/2/progress", "", usize::MAX).await?;

    println!("Posted again it is the same order, and another one cannot have its number:\n");
    client::post(address, "/orders", r#"{"number":1,"item":"tea"}"#).await?;
    client::post(address, "/orders", r#"{"number":1,"item":"piano"}"#).await?;
    Ok(())
}
