//! A step of a saga whose other system is slow or gone: its timeout, its breaker, the fallback that does the step in another way, and
//! another attempt where that fails too.
//!
//! `cargo run -p saga_fallback`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cqrs::prelude::*;
use cqrs::testing::TestApp;
use cqrs::{BoxError, SagaError};
use serde::{Deserialize, Serialize};

#[saga(name = "order", version = 1, steps = [reserve, charge, ship])]
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Order {
    number: u32,
    /// What the bank will say to it.
    bank: Bank,
    #[serde(default)]
    notes: Vec<String>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum Bank {
    Answers,
    IsClosed,
    Hangs,
    KnowsNoSuchAccount,
}

#[derive(Debug)]
enum BankError {
    Unavailable(u16),
    NoSuchAccount,
}

impl fmt::Display for BankError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(code) => write!(f, "the bank answered {code}"),
            Self::NoSuchAccount => f.write_str("no such account"),
        }
    }
}

impl std::error::Error for BankError {}

/// How often each was called.
#[derive(Default)]
struct Calls {
    bank: AtomicU32,
    printer: AtomicU32,
}

#[saga_step(compensate = release)]
async fn reserve(cx: &mut Order) {
    cx.notes.push("reserved".to_owned());
}

#[compensation]
async fn release(cx: &mut Order) {
    println!("  order {}: released", cx.number);
}

/// An attempt is breaker(timeout(step)), then the fallback. Only where that has failed, too, is there another one. `on` says which errors
/// count; the others reach the saga as they are, at once, and mean nothing to the breaker.
#[saga_step(
    compensate = none,
    timeout = "50ms",
    breaker(failures = 3, open_for = "60s"),
    fallback = send_invoice,
    on = [BankError::Unavailable(_)],
    retry(max = 2, first = "1ms")
)]
async fn charge(cx: &mut Order, calls: Inject<Calls>) -> Result<(), BankError> {
    calls.bank.fetch_add(1, Ordering::Relaxed);
    cx.notes.push("charged".to_owned());
    match cx.bank {
        Bank::Answers => Ok(()),
        Bank::IsClosed => Err(BankError::Unavailable(503)),
        Bank::Hangs => std::future::pending().await,
        Bank::KnowsNoSuchAccount => Err(BankError::NoSuchAccount),
    }
}

/// Sees the order as it was before the step that failed: nothing of it is charged.
#[fallback]
async fn send_invoice(cx: &mut Order, cause: Cause<BankError>, calls: Inject<Calls>) -> Result<(), BoxError> {
    println!("  order {}: {cause}; the fallback finds {:?}", cx.number, cx.notes);
    cx.notes.push("invoiced".to_owned());
    if calls.printer.fetch_add(1, Ordering::Relaxed) == 1 {
        println!("  order {}: the printer is jammed, too", cx.number);
        return Err("the printer is jammed".into());
    }
    Ok(())
}

#[saga_step(pivot)]
async fn ship(_cx: &mut Order) {}

async fn order(app: &App, calls: &Calls, number: u32, bank: Bank) -> Result<(), BoxError> {
    let before = calls.bank.load(Ordering::Relaxed);
    let ended = app.saga(Order { number, bank, notes: Vec::new() }).await;
    let asked = calls.bank.load(Ordering::Relaxed) - before;
    match ended {
        Ok(order) => println!("order {number}: {:?}; calls of the bank: {asked}", order.notes),
        Err(SagaError::Compensated { source, .. }) => println!("order {number}: {source}; calls of the bank: {asked}"),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let calls = std::sync::Arc::new(Calls::default());
    let builder = cqrs::bootstrap!().store(Store::url("sqlite://orders.db")).provide_arc(calls.clone());
    let app = TestApp::new(builder).await?; // in a temporary place

    let banks = [Bank::Answers, Bank::KnowsNoSuchAccount, Bank::IsClosed, Bank::Hangs, Bank::Answers, Bank::Answers];
    for (number, bank) in (1..).zip(banks) {
        order(&app, &calls, number, bank).await?;
    }
    for breaker in app.breakers() {
        println!("{} is {} after {} failures", breaker.name, breaker.phase, breaker.failures);
    }
    app.advance(Duration::from_mins(1)).await;
    println!("a minute later:");
    order(&app, &calls, 7, Bank::Answers).await
}
