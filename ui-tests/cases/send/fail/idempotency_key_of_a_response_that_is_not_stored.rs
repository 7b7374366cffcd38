// The response to a call with an idempotency key is stored.

use cqrs::prelude::*;
use serde::{Deserialize, Serialize};

struct Receipt;

#[derive(Command, Serialize, Deserialize)]
#[command(response = Receipt)]
struct PayInvoice;

async fn pay(app: App) -> Result<Receipt, cqrs::Error> {
    Ok(app.send(PayInvoice).idempotency_key("9f2c").await?)
}

fn main() {}
