//! Commands change state, queries do not; each has exactly one handler, an ordinary async function.
//!
//! `cargo run -p commands_and_queries`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]
#![allow(clippy::unused_async, reason = "a handler is async, whether it waits for something or not")]

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use cqrs::prelude::*;

/// What the handlers share. A service would have a database here.
#[derive(Default)]
struct Accounts(Mutex<BTreeMap<&'static str, u32>>);

impl Accounts {
    fn with<R>(&self, run: impl FnOnce(&mut BTreeMap<&'static str, u32>) -> R) -> R {
        run(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

// A message says what it is answered with and how it can fail. Without `response` it is answered with `()`, without
// `error` it fails with a `cqrs::BoxError`.

#[derive(Command)]
struct Deposit {
    account: &'static str,
    amount: u32,
}

#[derive(Command)]
#[command(response = u32, error = WithdrawError)]
struct Withdraw {
    account: &'static str,
    amount: u32,
}

#[derive(Debug)]
enum WithdrawError {
    NoAccount,
    TooLittle { left: u32 },
}

impl fmt::Display for WithdrawError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAccount => f.write_str("there is no such account"),
            Self::TooLittle { left } => write!(f, "only {left} left"),
        }
    }
}

#[derive(Query)]
#[query(response = Option<u32>)]
struct Balance(&'static str);

/// `item` makes it a streaming query: its handler yields items one by one.
#[derive(Query)]
#[query(item = String)]
struct Statement;

// A handler takes its message first, by value or by reference, then whatever it needs.

#[command_handler]
async fn deposit(cmd: Deposit, accounts: Inject<Accounts>) {
    accounts.with(|accounts| *accounts.entry(cmd.account).or_default() += cmd.amount);
}

#[command_handler]
async fn withdraw(cmd: Withdraw, accounts: Inject<Accounts>) -> Result<u32, WithdrawError> {
    accounts.with(|accounts| {
        let balance = accounts.get_mut(cmd.account).ok_or(WithdrawError::NoAccount)?;
        *balance = balance.checked_sub(cmd.amount).ok_or(WithdrawError::TooLittle { left: *balance })?;
        Ok(*balance)
    })
}

#[query_handler]
async fn balance(q: &Balance, accounts: Inject<Accounts>) -> Option<u32> {
    accounts.with(|accounts| accounts.get(q.0).copied())
}

#[query_handler]
async fn statement(_q: Statement, accounts: Inject<Accounts>, items: &mut Items<String>) {
    for (account, balance) in accounts.with(|accounts| accounts.clone()) {
        items.send(format!("{account}: {balance}")).await; // waits until the reader wants more
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), cqrs::Error> {
    let app = cqrs::bootstrap!().provide(Accounts::default()).await?;

    app.send(Deposit { account: "ada", amount: 100 }).await?;
    app.send(Deposit { account: "bob", amount: 20 }).await?;
    println!("left after a withdrawal: {}", app.send(Withdraw { account: "ada", amount: 30 }).await?);

    // A call fails with a `DispatchError`: the handler's own error, or what kept the handler from answering.
    match app.send(Withdraw { account: "bob", amount: 50 }).await {
        Err(DispatchError::Handler(WithdrawError::TooLittle { left })) => println!("bob has only {left}"),
        other => println!("unexpected: {other:?}"),
    }
    if let Err(error) = app.send(Withdraw { account: "eve", amount: 1 }).await {
        println!("{:?}: {error}", error.kind());
    }

    println!("ada: {:?}, eve: {:?}", app.query(Balance("ada")).await?, app.query(Balance("eve")).await?);

    let mut lines = app.stream(Statement);
    while let Some(line) = lines.next().await {
        println!("statement: {}", line?);
    }
    Ok(())
}
