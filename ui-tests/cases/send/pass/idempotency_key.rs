// Command and response can be stored; the key stands anywhere among the other methods.

use std::time::Duration;

use cqrs::prelude::*;
use cqrs::sqlx::Sqlite;
use serde::{Deserialize, Serialize};

#[derive(Command, Serialize, Deserialize)]
#[command(response = Option<u64>)]
struct PayInvoice;

async fn pay(app: App, tx: &mut Tx<Sqlite>) -> Result<(), cqrs::Error> {
    app.send(PayInvoice).idempotency_key("9f2c").header("k", "v").await?;
    app.send(PayInvoice).timeout(Duration::MAX).idempotency_key(String::new()).within(tx).await?;
    app.send(PayInvoice).within(tx).idempotency_key("9f2c").await?;
    Ok(())
}

fn main() {}
