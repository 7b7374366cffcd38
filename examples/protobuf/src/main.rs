//! An event as Protocol Buffers: `build.rs` compiles a `.proto` file (without `protoc`), and makes its message an event. Whoever
//! has the file reads it, in any language; and what others publish by it is consumed here.
//!
//! `cargo run -p protobuf`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use cqrs::Delivery;
use cqrs::prelude::*;
use cqrs::sqlx::{self, Sqlite};
use prost::Message;

use crate::parcels::ParcelSent;

/// What `build.rs` made of `parcels.proto`.
#[expect(unreachable_pub, reason = "generated")]
mod parcels {
    include!(concat!(env!("OUT_DIR"), "/parcels.rs"));
}

#[event_handler(group = "tracking")]
async fn note(e: ParcelSent) {
    println!("consumed: parcel of order {} with {}, {} g", e.order, e.items.join(" and "), e.grams);
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), cqrs::Error> {
    let directory = tempfile::tempdir()?;
    let store = Store::url(format!("sqlite://{}", directory.path().join("parcels.db").display()));
    let app = cqrs::bootstrap!().store(store).broker(Broker::url("memory:")).await?;

    let sent = ParcelSent { order: "17".to_owned(), items: vec!["tea".to_owned(), "salt".to_owned()], grams: 350 };
    app.publish(sent.clone()).await?;

    // The row that the relay is going to publish. A plain decoder reads its body; headers say what it is.
    let mut unit = app.unit::<Sqlite>().await?;
    let select = "SELECT payload, headers ->> 'content-type', headers ->> 'event_name' FROM cqrs_outbox";
    let row = sqlx::query_as(select).fetch_one(&mut **unit.tx()).await?;
    let (body, content_type, name): (Vec<u8>, String, String) = row;
    drop(unit);
    println!("on the wire: {name}, {content_type}, {} bytes", body.len());
    println!("decoded by prost alone: {}", ParcelSent::decode(&*body).is_ok_and(|decoded| decoded == sent));

    let mut done = Ok(());
    app.run_until(async { done = consume(&app).await }).await?;
    done
}

async fn consume(app: &App) -> Result<(), cqrs::Error> {
    // The memory broker confirms what was consumed.
    while app.counts().await?.outbox > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // From another service, which has no more than the `.proto` file.
    let theirs = ParcelSent { order: "18".to_owned(), items: vec!["rice".to_owned()], grams: 1000 };
    let delivery = Delivery::new("parcels", theirs.encode_to_vec())
        .header("content-type", "application/protobuf")
        .header("event_name", "parcel_sent")
        .header("event_id", "0199a1f2-0000-7000-8000-000000000018");
    app.receive(delivery).await
}
