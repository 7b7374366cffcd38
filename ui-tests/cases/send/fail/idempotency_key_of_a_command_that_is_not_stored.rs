// A call with an idempotency key is told from others by its payload, which must be written and read.

use cqrs::prelude::*;

#[derive(Command)]
struct PayInvoice {
    cents: u64,
}

async fn pay(app: App) -> Result<(), cqrs::Error> {
    app.send(PayInvoice { cents: 995 }).idempotency_key("9f2c").await?;
    Ok(())
}

fn main() {}
