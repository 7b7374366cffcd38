//! A handler asks for its dependencies by type. They are values given to the builder, or come from providers.
//!
//! `cargo run -p dependencies`, and `cargo test -p dependencies` for the override.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]
#![allow(clippy::unused_async, reason = "a handler is async, whether it waits for something or not")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use cqrs::prelude::*;

/// A value: given to the builder.
struct Settings {
    currency: &'static str,
    rates: &'static str,
}

/// A trait object: handlers name the trait, the builder or a provider the type behind it.
trait Clock: Send + Sync {
    fn today(&self) -> &'static str;
}

struct Fixed(&'static str);

impl Clock for Fixed {
    fn today(&self) -> &'static str {
        self.0
    }
}

/// One per app: made once at the start. May be async, may fail, may need others.
struct Rates {
    euro: u32,
}

#[provider]
async fn rates(settings: Inject<Settings>) -> Result<Rates, cqrs::BoxError> {
    tokio::task::yield_now().await; // a real one would read a file or ask a server
    Ok(Rates { euro: settings.rates.parse()? })
}

/// One per unit of work (`scope = "message"`): all handlers of a call share it, and it is dropped after them.
struct Caller {
    name: String,
    number: u32,
}

#[derive(Default)]
struct Callers(AtomicU32);

#[provider(scope = "message")]
async fn caller(meta: &Meta, callers: Inject<Callers>) -> Result<Caller, cqrs::BoxError> {
    let name = meta.header("user").ok_or("nobody is logged in")?.to_owned();
    Ok(Caller { name, number: callers.0.fetch_add(1, Ordering::Relaxed) + 1 })
}

#[derive(Command)]
#[command(response = String)]
struct Buy {
    cents: u32,
}

#[derive(DomainEvent)]
struct Bought;

#[command_handler]
async fn buy(
    cmd: Buy,
    settings: Inject<Settings>,
    clock: Inject<dyn Clock>,
    rates: Inject<Rates>,
    caller: Inject<Caller>,
    events: &mut Events,
) -> String {
    events.raise(Bought);
    let price = cmd.cents * rates.euro / 100;
    format!("{} pays {price} {} on {}", caller.name, settings.currency, clock.today())
}

#[event_handler]
async fn thank(_e: &Bought, caller: Inject<Caller>) {
    println!("thank you, {}, caller {}", caller.name, caller.number);
}

/// Inert until it is awaited, so that `main` and tests start from the same function.
fn app() -> cqrs::Builder {
    cqrs::bootstrap!()
        .provide(Settings { currency: "EUR", rates: "92" })
        .provide(Callers::default())
        .provide_arc::<dyn Clock>(Arc::new(Fixed("Monday")))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), cqrs::Error> {
    let running = app().await?;
    println!("{}", running.send(Buy { cents: 1000 }).header("user", "ada").await?);
    println!("{}", running.send(Buy { cents: 2500 }).header("user", "bob").await?);

    // A message-scoped provider that fails, fails the call; an app-wide one, the start.
    if let Err(DispatchError::Dependency { provider, source, .. }) = running.send(Buy { cents: 1 }).await {
        println!("`{provider}`: {source}");
    }
    let wrong = app().override_arc(Arc::new(Settings { currency: "EUR", rates: "many" })).await;
    println!("started with wrong rates: {}", wrong.is_ok());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn prices_of_another_day() -> Result<(), cqrs::Error> {
        let app = app().override_arc::<dyn Clock>(Arc::new(Fixed("Tuesday"))).await?;
        assert_eq!(app.send(Buy { cents: 100 }).header("user", "eve").await?, "eve pays 92 EUR on Tuesday");
        Ok(())
    }
}
