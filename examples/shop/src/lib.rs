//! A shop: orders are placed, paid and cancelled; stock and mail follow.
//!
//! Handlers are plain functions beside what they are about. Nothing lists them: [`app`] finds all that are linked.
#![expect(missing_docs, reason = "an application, not an API: fields and variants speak for themselves")]

mod checkout;
mod http;
mod mail;
mod messages;
mod orders;
mod pay;
mod prices;
mod stock;

use cqrs::prelude::*;

pub use http::router;
pub use mail::{Mailer, Spool};
pub use messages::*;
pub use prices::PriceFile;

/// The shop on an SQLite file, unless settings name another store. `main` and tests start from here, and say who sends
/// the mails.
pub fn app() -> cqrs::Builder {
    cqrs::bootstrap!()
        .store(Store::url("sqlite://shop.db").migrations(sqlx::migrate!()))
        .broker(Broker::url("memory:"))
        .provide(PriceFile("prices.json".into()))
        .expects::<dyn Mailer>()
}

/// The audit log: every command, and how it ended.
#[middleware(kinds = [command, stream])]
async fn audit(call: Call<'_>, next: Next<'_>) -> Outcome {
    let command = call.debug(); // before `run`: then the handler has the message
    let outcome = next.run().await;
    let refused = outcome.error().map(|error| tracing::field::debug(error.to_string())); // quoted: clients have a say in it
    tracing::info!(command, refused, took = ?outcome.elapsed(), "audit");
    outcome
}
