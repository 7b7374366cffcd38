//! Two processes share a circuit breaker in Redis: what one of them finds broken, neither calls, and between them they
//! make one trial.
//!
//! `cargo run -p shared_breaker`, with a Redis on this machine, or `CQRS_REDIS_URL` set to one elsewhere. The program starts
//! itself twice and tells the two what to do.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::env;
use std::error::Error;
use std::process::Stdio;
use std::time::Duration;

use cqrs::prelude::*;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines, stdin};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// Asks the bank, which is up or down.
#[derive(Query)]
#[query(response = &'static str, error = String)]
struct Charge {
    bank_is_up: bool,
}

#[query_handler(breaker(failures = 3, open_for = "1s", name = "bank"))]
async fn charge(q: &Charge) -> Result<&'static str, String> {
    tokio::time::sleep(Duration::from_millis(300)).await;
    if q.bank_is_up { Ok("charged") } else { Err("the bank is down".to_owned()) }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    match env::args().nth(1) {
        Some(prefix) => till(prefix).await,
        None => both().await,
    }
}

fn redis() -> String {
    env::var("CQRS_REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1:6379".to_owned())
}

/// What each of the two does: one call for each line it is told.
async fn till(prefix: String) -> Result<(), Box<dyn Error>> {
    // Calls go by what their process knows, which is fetched anew behind them; what is ten refreshes old, they wait for.
    let breakers =
        Breakers::redis(redis()).prefix(prefix).refresh(Duration::from_millis(20)).timeout(Duration::from_secs(1));
    let app = cqrs::bootstrap!().breakers(breakers).await?;
    let mut told = BufReader::new(stdin()).lines();
    while let Some(line) = told.next_line().await? {
        match app.query(Charge { bank_is_up: line == "up" }).await {
            Ok(answer) => println!("{answer}"),
            Err(DispatchError::BreakerOpen { .. }) => println!("not asked: the breaker is open"),
            Err(error) => println!("{error}"),
        }
    }
    Ok(())
}

struct Till {
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    process: Child,
}

impl Till {
    fn open(prefix: &str) -> Result<Self, Box<dyn Error>> {
        let mut process = Command::new(env::current_exe()?)
            .arg(prefix)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let input = process.stdin.take().ok_or("it has no input")?;
        let output = BufReader::new(process.stdout.take().ok_or("it has no output")?).lines();
        Ok(Self { input, output, process })
    }

    async fn call(&mut self, bank: &str) -> Result<String, Box<dyn Error>> {
        self.input.write_all(format!("{bank}\n").as_bytes()).await?;
        Ok(self.output.next_line().await?.ok_or("it has ended")?)
    }
}

async fn both() -> Result<(), Box<dyn Error>> {
    // A service goes on without Redis, with a breaker for each process. There would be nothing to see here.
    let url = redis();
    let place = url.rsplit(['/', '@']).find(|part| part.contains(':')).unwrap_or_default();
    if let Err(error) = std::net::TcpStream::connect(place) {
        return Err(format!("no Redis at {place} ({error}): start `redis-server`, or set CQRS_REDIS_URL").into());
    }
    // Keys of its own, so that every run begins with a breaker that is closed.
    let prefix = format!("example-{}", std::process::id());
    let (mut first, mut second) = (Till::open(&prefix)?, Till::open(&prefix)?);

    println!("second, bank up: {}", second.call("up").await?);
    for _ in 0..3 {
        println!("first, bank down: {}", first.call("down").await?);
    }
    // By then the second no longer goes by what it knew.
    tokio::time::sleep(Duration::from_millis(500)).await;
    println!("second, bank up again: {}", second.call("up").await?);

    tokio::time::sleep(Duration::from_secs(1)).await;
    let (one, other) = tokio::join!(first.call("up"), second.call("up"));
    let answers = [one?, other?];
    let charged = answers.iter().filter(|answer| *answer == "charged").count();
    println!("half-open, both at once: {charged} of 2 was let in");

    tokio::time::sleep(Duration::from_millis(500)).await;
    println!("closed: {} and {}", first.call("up").await?, second.call("up").await?);

    for mut till in [first, second] {
        drop(till.input);
        till.process.wait().await?;
    }
    Ok(())
}
