//! Ways to pay, asked in order: a voucher, a card, an invoice. Each is a function that knows nothing of the others.
//!
//! `cargo run -p chain` pays in all these ways; `cargo run -p chain_diagram` draws the chain.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use cqrs::prelude::*;
use cqrs::sqlx::{self, Sqlite};

/// To be paid, one way or another. `Clone`, since a link that takes `&Pay` passes a clone on.
#[derive(Command, Clone, Debug)]
#[command(response = String, error = PayError)]
pub struct Pay {
    /// How much.
    pub cents: u32,
    /// The voucher that the customer has.
    pub voucher: Option<&'static str>,
    /// The card that the customer has.
    pub card: Option<&'static str>,
    /// Whether the customer may pay later.
    pub regular_customer: bool,
}

/// Why it cannot be paid.
#[derive(Debug)]
pub enum PayError {
    /// The bank said no: nobody else is asked.
    Refused,
    /// The bank cannot be reached: another one may be.
    Unreachable,
    /// What was done cannot be written down.
    Database(sqlx::Error),
}

/// Whoever has the card's money.
pub trait Bank: Send + Sync {
    /// Takes the money.
    ///
    /// # Errors
    /// Where it refuses, or cannot be reached.
    fn charge(&self, card: &str, cents: u32) -> Result<(), PayError>;
}

/// Raised by whichever link was paid.
#[derive(DomainEvent, Debug)]
pub struct Paid {
    /// In which way.
    pub how: &'static str,
    /// How much.
    pub cents: u32,
}

/// Not for it: it passes the message on.
#[chain_link]
async fn by_voucher(cmd: Pay, tx: &mut Tx<Sqlite>, events: &mut Events) -> Result<Link<Pay>, PayError> {
    let Some(voucher) = cmd.voucher else { return Ok(Link::Pass(cmd)) };
    note(tx, format!("voucher {voucher} is used up")).await?;
    events.raise(Paid { how: "by voucher", cents: cmd.cents });
    Ok(Link::Answer(format!("paid with voucher {voucher}")))
}

/// All that surrounds a handler surrounds a link. Only what `on` names asks the fallback; any other error ends the chain.
#[chain_link(
    fallback = by_other_bank,
    on = [PayError::Unreachable],
    timeout = "2s",
    retry(max = 2, first = "10ms"),
    breaker(failures = 3, open_for = "30s")
)]
async fn by_card(
    cmd: &Pay,
    bank: Inject<dyn Bank>,
    tx: &mut Tx<Sqlite>,
    events: &mut Events,
) -> Result<Link<Pay>, PayError> {
    let Some(card) = cmd.card else {
        // Stays, whoever is paid in the end: all links share one transaction.
        note(tx, "no card").await?;
        return Ok(Link::Pass(cmd.clone()));
    };
    // Undone with the attempt that fails.
    note(tx, format!("card {card} is charged")).await?;
    bank.charge(card, cmd.cents)?;
    events.raise(Paid { how: "by card", cents: cmd.cents });
    Ok(Link::Answer(format!("paid with card {card}")))
}

/// Stands in for a link: it may answer, fail, or pass.
#[fallback]
async fn by_other_bank(cmd: &Pay, cause: Cause<PayError>, tx: &mut Tx<Sqlite>) -> Result<Link<Pay>, PayError> {
    note(tx, format!("the other bank is asked: {cause}")).await?;
    Ok(Link::Answer(format!("paid {} cents through the other bank", cmd.cents)))
}

#[chain_link]
async fn by_invoice(cmd: Pay, tx: &mut Tx<Sqlite>, events: &mut Events) -> Result<Link<Pay>, PayError> {
    if !cmd.regular_customer {
        return Ok(Link::Pass(cmd));
    }
    note(tx, "an invoice is sent").await?;
    events.raise(Paid { how: "by invoice", cents: cmd.cents });
    Ok(Link::Answer("to be paid within 30 days".to_owned()))
}

// The order, in one place. Links may come from other modules and crates.
cqrs::chain!(Pay => [by_voucher, by_card, by_invoice]);

/// What the chain needs besides a bank: nothing is connected, so it can be drawn as it is.
pub fn app(file: &Path) -> cqrs::Builder {
    cqrs::bootstrap!().store(Store::url(format!("sqlite://{}", file.display()))).expects::<dyn Bank>()
}

/// A bank that knows three cards.
pub fn bank() -> Arc<dyn Bank> {
    struct Small;
    impl Bank for Small {
        fn charge(&self, card: &str, _cents: u32) -> Result<(), PayError> {
            match card {
                "4000" => Ok(()),
                "4001" => Err(PayError::Refused),
                _ => Err(PayError::Unreachable),
            }
        }
    }
    Arc::new(Small)
}

async fn note(tx: &mut Tx<Sqlite>, text: impl Into<String>) -> Result<(), PayError> {
    sqlx::query("INSERT INTO notes (text) VALUES (?)").bind(text.into()).execute(&mut **tx).await?;
    Ok(())
}

impl fmt::Display for PayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("the bank refuses"),
            Self::Unreachable => f.write_str("the bank cannot be reached"),
            Self::Database(error) => error.fmt(f),
        }
    }
}

impl From<sqlx::Error> for PayError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}
