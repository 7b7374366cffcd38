//! Bodies of events, compressed by zlib or Zstandard. Who writes says so (here on the builder; `compression = "zstd"` in the
//! settings does as well), who reads needs no setting: a header of each message tells how it came. So writers may change, one
//! by one, while old messages are still on their way.
//!
//! `cargo run -p compression`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::collections::BTreeMap;
use std::path::Path;

use cqrs::prelude::*;
use cqrs::sqlx::{self, Sqlite};
use cqrs::{Compression, Delivery};
use serde::{Deserialize, Serialize};

#[derive(NotificationEvent, Serialize, Deserialize)]
#[event(name = "catalogue_printed", topic = "catalogues")]
struct CataloguePrinted {
    lines: Vec<String>,
}

#[event_handler(group = "readers")]
async fn read(e: CataloguePrinted) {
    println!("  read: {} lines", e.lines.len());
}

async fn app(file: &Path, how: Compression) -> Result<App, cqrs::Error> {
    let store = Store::url(format!("sqlite://{}", file.display()));
    cqrs::bootstrap!().store(store).broker(Broker::url("memory:")).compression(how).await
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), cqrs::Error> {
    let directory = tempfile::tempdir()?;
    let file = |name: &str| directory.path().join(format!("{name}.db"));
    let reader = app(&file("reader"), Compression::None).await?;
    for how in [Compression::None, Compression::Zlib, Compression::Zstd] {
        let writer = app(&file(&format!("{how:?}")), how).await?;
        let lines = (1..=1000).map(|number| format!("article {number}, on every page of the catalogue")).collect();
        writer.publish(CataloguePrinted { lines }).await?;

        // In a service the relay takes it from the outbox to the broker. Here it is shown what goes there.
        let mut unit = writer.unit::<Sqlite>().await?;
        let row = sqlx::query_as("SELECT payload, headers FROM cqrs_outbox").fetch_one(&mut **unit.tx());
        let (body, headers): (Vec<u8>, String) = row.await?;
        let headers: BTreeMap<String, String> = serde_json::from_str(&headers).map_err(cqrs::BoxError::from)?;
        let encoding = headers.get("content-encoding").map_or("no header", String::as_str);
        println!("{how:?}: {} KiB, content-encoding: {encoding}", body.len().div_ceil(1024));
        let delivery = Delivery::new("catalogues", body);
        let delivery = headers.into_iter().fold(delivery, |delivery, (name, value)| delivery.header(name, value));
        reader.receive(delivery).await?;
    }
    Ok(())
}
