//! Chains, streams and breakers, each beside what it stands in for.

use std::convert::Infallible;

use cqrs::App;
use cqrs::prelude::*;

use crate::app::app;
use crate::dispatch::Counter;
use crate::harness::{Bench, Report, Scale, allocations, interleave, runtime};

const CALLS: u32 = 200_000;
const STREAMS: u32 = 200;
/// Items of one stream.
const ITEMS: u16 = 1000;

pub(crate) fn benches() -> Vec<Bench> {
    vec![
        Bench { path: "chain", run: chain },
        Bench { path: "stream", run: stream },
        Bench { path: "breaker", run: breaker },
        Bench { path: "breaker.policy", run: policy },
    ]
}

#[derive(Command)]
#[command(response = u64, error = Infallible)]
struct One(u64);

#[command_handler]
async fn one(cmd: One, counter: Inject<dyn Counter>, _events: &mut Events) -> u64 {
    counter.add(cmd.0)
}

#[derive(Command)]
#[command(response = u64, error = Infallible)]
struct Five(u64);

macro_rules! links {
    ($($name:ident)*) => {$(
        #[chain_link]
        async fn $name(cmd: Five, counter: Inject<dyn Counter>, _events: &mut Events) -> Link<Five> {
            counter.add(cmd.0);
            Link::Pass(cmd)
        }
    )*};
}

links!(passes_first passes_second passes_third passes_fourth);

#[chain_link]
async fn answers(cmd: Five, counter: Inject<dyn Counter>, _events: &mut Events) -> Link<Five> {
    Link::Answer(counter.add(cmd.0))
}

cqrs::chain!(Five => [passes_first, passes_second, passes_third, passes_fourth, answers]);

/// A chain of five links, answered by the last, beside one `send`.
fn chain(path: &'static str, scale: Scale) -> Report {
    let runtime = runtime();
    let (app, _directory) = runtime.block_on(app(0));
    let (ours, plain) = runtime.block_on(interleave(scale, CALLS, || app.send(Five(1)), || app.send(One(1))));
    let count = allocations(&runtime, || app.send(Five(1)));
    Report::of_costs(path, "ns", ours, plain, Some(count))
}

#[derive(Query)]
#[query(response = u64, error = Infallible)]
struct Unguarded(u64);

#[query_handler]
async fn unguarded(q: &Unguarded, counter: Inject<dyn Counter>) -> u64 {
    counter.add(q.0)
}

#[derive(Query)]
#[query(response = u64, error = Infallible)]
struct Guarded(u64);

#[query_handler(breaker(failures = 5, open_for = "30s"))]
async fn guarded(q: &Guarded, counter: Inject<dyn Counter>) -> u64 {
    counter.add(q.0)
}

/// A query behind a closed breaker, beside one without.
fn breaker(path: &'static str, scale: Scale) -> Report {
    beside_unguarded(path, scale, |app| app.query(Guarded(1)))
}

#[derive(Query)]
#[query(response = u64, error = Infallible)]
struct Everything(u64);

#[query_handler(breaker(failures = 5), retry(max = 2), timeout = "2s", fallback = instead)]
async fn everything(q: &Everything, counter: Inject<dyn Counter>) -> u64 {
    counter.add(q.0)
}

#[fallback]
async fn instead(q: &Everything) -> u64 {
    q.0
}

/// A query with everything that can surround it, all well, beside one without.
fn policy(path: &'static str, scale: Scale) -> Report {
    beside_unguarded(path, scale, |app| app.query(Everything(1)))
}

fn beside_unguarded<F: Future>(path: &'static str, scale: Scale, call: impl Fn(&App) -> F) -> Report {
    let runtime = runtime();
    let (app, _directory) = runtime.block_on(app(0));
    let (ours, plain) = runtime.block_on(interleave(scale, CALLS, || call(&app), || app.query(Unguarded(1))));
    let count = allocations(&runtime, || call(&app));
    Report::of_costs(path, "ns", ours, plain, Some(count))
}

#[derive(Query)]
#[query(item = u16, error = Infallible)]
struct Numbers;

#[query_handler]
async fn numbers(_q: &Numbers, items: &mut Items<u16>) {
    for number in 0..ITEMS {
        items.send(number).await;
    }
}

async fn read(app: &App) {
    let mut stream = app.stream(Numbers);
    while let Some(item) = stream.next().await {
        std::hint::black_box(item.ok());
    }
}

/// The plain version: a bounded channel, sender and receiver on one task.
async fn channel() {
    let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
    let send = async move {
        for number in 0..ITEMS {
            if sender.send(number).await.is_err() {
                return;
            }
        }
    };
    let receive = async {
        while let Some(number) = receiver.recv().await {
            std::hint::black_box(number);
        }
    };
    tokio::join!(send, receive);
}

/// A stream of 1,000 items beside as many through a plain channel: nanoseconds an item.
fn stream(path: &'static str, scale: Scale) -> Report {
    let runtime = runtime();
    let (app, _directory) = runtime.block_on(app(0));
    let (ours, plain) = runtime.block_on(interleave(scale, STREAMS, || read(&app), channel));
    let an_item = |round: Vec<f64>| round.into_iter().map(|time| time / f64::from(ITEMS)).collect();
    Report::of_costs(path, "ns", an_item(ours), an_item(plain), None)
}
