//! In-process calls beside a boxed async call looked up by type.

use std::any::TypeId;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cqrs::App;
use cqrs::prelude::*;

use crate::app::app;
use crate::harness::{Bench, Report, Scale, allocations, interleave, runtime};

const CALLS: u32 = 400_000;

pub(crate) fn benches() -> Vec<Bench> {
    vec![
        Bench { path: "dispatch", run: with_parameters },
        Bench { path: "dispatch.bare", run: bare },
        Bench { path: "dispatch.query", run: query },
        Bench { path: "dispatch.event", run: event },
        Bench { path: "dispatch.middleware.1", run: middleware_1 },
        Bench { path: "dispatch.middleware.3", run: middleware_3 },
    ]
}

pub(crate) trait Counter: Send + Sync {
    fn add(&self, by: u64) -> u64;
}

#[derive(Default)]
pub(crate) struct Atomic(AtomicU64);

impl Counter for Atomic {
    fn add(&self, by: u64) -> u64 {
        self.0.fetch_add(by, Ordering::Relaxed)
    }
}

#[derive(Command)]
#[command(response = u64, error = std::convert::Infallible)]
struct Add(u64);

#[derive(Command)]
#[command(response = u64, error = std::convert::Infallible)]
struct Bare(u64);

#[derive(Query)]
#[query(response = u64, error = std::convert::Infallible)]
struct Ask(u64);

#[derive(Command)]
#[command(response = u64, error = std::convert::Infallible)]
struct Tell(u64);

#[derive(DomainEvent)]
struct Told(u64);

#[command_handler]
async fn add(cmd: Add, counter: Inject<dyn Counter>, _events: &mut Events) -> u64 {
    counter.add(cmd.0)
}

#[command_handler]
async fn on_bare(cmd: Bare) -> u64 {
    std::hint::black_box(cmd.0)
}

#[query_handler]
async fn ask(q: Ask, counter: Inject<dyn Counter>) -> u64 {
    counter.add(q.0)
}

#[command_handler]
async fn tell(cmd: Tell, events: &mut Events) -> u64 {
    events.raise(Told(cmd.0));
    cmd.0
}

#[event_handler]
async fn on_told(e: &Told, counter: Inject<dyn Counter>) {
    counter.add(e.0);
}

/// The plain version: the handler boxed behind a map of types with an identity hasher.
type PlainFuture = Pin<Box<dyn Future<Output = u64> + Send>>;
type PlainMap = HashMap<TypeId, Box<dyn Fn(u64) -> PlainFuture + Send + Sync>, BuildHasherDefault<Identity>>;

#[derive(Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, id: u64) {
        self.0 = id;
    }
}

struct Plain {
    map: PlainMap,
}

impl Plain {
    fn new() -> Self {
        let counter: Arc<dyn Counter> = Arc::new(Atomic::default());
        let mut map = PlainMap::default();
        let handler = move |by| {
            let counter = Arc::clone(&counter);
            Box::pin(async move { counter.add(by) }) as PlainFuture
        };
        map.insert(TypeId::of::<Add>(), Box::new(handler));
        // A map of one would be looked up faster than anybody's.
        let others: [TypeId; 8] = [
            TypeId::of::<u8>(),
            TypeId::of::<u16>(),
            TypeId::of::<u32>(),
            TypeId::of::<u64>(),
            TypeId::of::<i8>(),
            TypeId::of::<i16>(),
            TypeId::of::<i32>(),
            TypeId::of::<i64>(),
        ];
        for other in others {
            map.insert(other, Box::new(|by| Box::pin(async move { by }) as PlainFuture));
        }
        Self { map }
    }

    async fn call(&self, by: u64) -> u64 {
        match self.map.get(&std::hint::black_box(TypeId::of::<Add>())) {
            Some(handler) => handler(by).await,
            None => 0,
        }
    }
}

#[middleware(order = 1)]
async fn first(_call: Call<'_>, next: Next<'_>) -> Outcome {
    next.run().await
}

#[middleware(order = 2)]
async fn second(_call: Call<'_>, next: Next<'_>) -> Outcome {
    next.run().await
}

#[middleware(order = 3)]
async fn third(_call: Call<'_>, next: Next<'_>) -> Outcome {
    next.run().await
}

macro_rules! measure {
    ($name:ident, $middlewares:literal, $call:expr) => {
        fn $name(path: &'static str, scale: Scale) -> Report {
            let runtime = runtime();
            let (app, _directory) = runtime.block_on(app($middlewares));
            let plain = Plain::new();
            let call = $call;
            let (ours, theirs) = runtime.block_on(interleave(scale, CALLS, || call(&app), || plain.call(1)));
            let count = allocations(&runtime, || call(&app));
            Report::of_costs(path, "ns", ours, theirs, Some(count))
        }
    };
}

measure!(with_parameters, 0, |app: &App| app.send(Add(1)));
measure!(bare, 0, |app: &App| app.send(Bare(1)));
measure!(query, 0, |app: &App| app.query(Ask(1)));
measure!(event, 0, |app: &App| app.send(Tell(1)));
measure!(middleware_1, 1, |app: &App| app.send(Add(1)));
measure!(middleware_3, 3, |app: &App| app.send(Add(1)));
