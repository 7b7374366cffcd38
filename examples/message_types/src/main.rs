//! What a message may be made of, and how it looks once it is stored or published.
//!
//! `cargo run -p message_types`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]
#![allow(clippy::unused_async, reason = "a handler is async, whether it waits for something or not")]

use std::fmt;
use std::sync::Arc;

use cqrs::prelude::*;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

/// A type of one's own, as a field and as a key: `key = field` asks for `Display`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String")]
struct Sku(String);

impl TryFrom<String> for Sku {
    type Error = cqrs::BoxError;

    fn try_from(text: String) -> Result<Self, cqrs::BoxError> {
        if text.starts_with("SKU-") { Ok(Self(text)) } else { Err(format!("`{text}` is no SKU").into()) }
    }
}

impl fmt::Display for Sku {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `name` and `version` say how it is called on the wire; without them it is the type's name, and 1. Serde's attributes
/// work as everywhere: `alias` still reads what older programs wrote.
#[derive(NotificationEvent, Clone, Debug, Serialize, Deserialize)]
#[event(name = "item_packed", version = 2, topic = "packing", key = sku)]
#[serde(rename_all = "camelCase")]
struct ItemPacked {
    sku: Sku,
    #[serde(alias = "qty")]
    piece_count: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gift_note: Option<String>,
}

/// Enums and tuples are messages too. A message that is never stored needs no serde.
#[derive(Command)]
#[command(response = Page<Sku>)]
enum Pack {
    One(Sku, u32),
    Gift { sku: Sku, note: String },
}

/// An answer may be of any type, generic ones included.
struct Page<T> {
    rows: Vec<T>,
    more: bool,
}

/// A domain event may be generic; a handler is for one instance of it.
#[derive(DomainEvent)]
struct Added<T: Send + Sync + 'static>(T);

// Parameters are recognised by their type, never by their spelling: an alias is as good as the name.
type Raise<'a> = &'a mut Events;

#[command_handler]
async fn pack(cmd: Pack, events: Raise<'_>) -> Page<Sku> {
    let (sku, piece_count, gift_note) = match cmd {
        Pack::One(sku, pieces) => (sku, pieces, None),
        Pack::Gift { sku, note } => (sku, 1, Some(note)),
    };
    events.raise(Added(sku.clone()));
    events.raise(Added(piece_count));
    events.raise(ItemPacked { sku: sku.clone(), piece_count, gift_note });
    Page { rows: vec![sku], more: false }
}

#[event_handler]
async fn sku_added(Added(sku): &Added<Sku>) {
    println!("added {sku}");
}

#[event_handler]
async fn pieces_added(e: &Added<u32>) {
    println!("added {} pieces", e.0);
}

/// From the broker: what the outbox held, decoded again.
#[event_handler(group = "stock")]
async fn packed(e: ItemPacked, meta: &Meta, done: Inject<Semaphore>) {
    println!("from `{}`, key {}: {e:?}", meta.topic().unwrap_or(""), meta.key().unwrap_or(""));
    done.add_permits(1);
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), cqrs::Error> {
    // Notification events need a store to be kept in and a broker to leave by.
    let directory = tempfile::tempdir()?;
    let url = format!("sqlite://{}", directory.path().join("packing.db").display());
    let builder = cqrs::bootstrap!().store(Store::url(url)).broker(Broker::url("memory:"));
    let done = Arc::new(Semaphore::new(0));
    let app = builder.provide_arc(Arc::clone(&done)).await?;

    let sku: Sku = "SKU-7".to_owned().try_into()?;
    let page = app.send(Pack::One(sku.clone(), 3)).await?;
    println!("packed {:?}, more: {}", page.rows, page.more);
    app.send(Pack::Gift { sku, note: "many happy returns".to_owned() }).await?;

    // Publishes what the outbox holds and consumes it, until both were handled.
    app.run_until(async { drop(done.acquire_many(2).await) }).await?;

    // What is stored is plain JSON; this was written by a program of last year.
    let old: ItemPacked = serde_json::from_str(r#"{"sku": "SKU-1", "qty": 2}"#).map_err(cqrs::BoxError::from)?;
    println!("{}", serde_json::to_string(&old).map_err(cqrs::BoxError::from)?);
    let wrong = serde_json::from_str::<ItemPacked>(r#"{"sku": "7", "pieceCount": 2}"#);
    println!("{}", wrong.err().map(|error| error.to_string()).unwrap_or_default());
    Ok(())
}
