//! The program that the tests break. Walkers take steps: each is raised with a row, published, written into a diary by one
//! group, published again from there, indexed by another, and now and then a bell rings a moment later.
//!
//! One walker stumbles: its steps fail at first and are tried again. One falls: the step that it fell at is a dead letter until
//! the way is mended, and holds back those behind it. One message is for nobody. One can be read by nobody until somebody edits it: it is
//! the one step of a walker who was lost.

use std::env;
use std::num::NonZeroU16;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use cqrs::__private::{FailPoint, watch};
use cqrs::broker::Declare;
use cqrs::broker::driver::{Driver as _, Outgoing};
use cqrs::prelude::*;
use cqrs::sqlx::{self, AssertSqlSafe};
use cqrs::store::{Any, AnyConnection, DeadLetter};
use cqrs::{BoxError, Delivery, OutsideUnit};
use rustix::process::{Signal, getpid, kill_process};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use uuid::Uuid;

use crate::named::Named;

/// What a process is told.
pub const STORE: &str = "FAULTS_STORE";
pub const BROKER: &str = "FAULTS_BROKER";
pub const NAME: &str = "FAULTS_NAME";
/// The parts that it runs, with commas; `walk` is ours.
pub const PARTS: &str = "FAULTS_PARTS";
/// What happens at which point: `relay.claimed*4*kill`, or `stop`, when it is passed for the fourth time.
pub const POINT: &str = "FAULTS_POINT";
pub const STEPS: &str = "FAULTS_STEPS";
/// Set where somebody else sees to the topics.
pub const LEAVES: &str = "FAULTS_LEAVES";
/// Set where leases last as long as they do unless somebody says otherwise.
pub const DEFAULTS: &str = "FAULTS_DEFAULTS";
/// The pause between two steps, in milliseconds.
pub const STRIDE: &str = "FAULTS_STRIDE";
/// Where a file says how many steps may be taken so far: set where what is to be seen needs steps that are taken then, however slow
/// the machine is.
pub const GATE: &str = "FAULTS_GATE";

pub const WALKERS: i32 = 6;
/// The number of the one who was lost.
pub const LOST: i32 = WALKERS;
const UNREADABLE: &str = "{lost";
const STUMBLES: i32 = 1;
const FALLS: i32 = 2;
const FALLS_AT: i32 = 7;

/// Tables and their columns.
pub const TABLES: &[(&str, &str)] = &[
    ("raised", "step BIGINT PRIMARY KEY"),
    ("diary", "id NUMBER, walker BIGINT NOT NULL, step BIGINT NOT NULL"),
    ("noted", "id NUMBER, walker BIGINT NOT NULL, step BIGINT NOT NULL"),
    ("rung", "id NUMBER, walker BIGINT NOT NULL, step BIGINT NOT NULL, late BIGINT NOT NULL"),
    ("mended", "id BIGINT PRIMARY KEY"),
];

#[derive(NotificationEvent, Clone, Serialize, Deserialize)]
#[event(name = "stepped", topic = "steps", key = walker)]
struct Stepped {
    walker: i32,
    step: i32,
}

#[derive(NotificationEvent, Clone, Serialize, Deserialize)]
#[event(name = "noted", topic = "notes", key = walker)]
struct Noted {
    walker: i32,
    step: i32,
}

/// Nobody handles it.
#[derive(NotificationEvent, Clone, Serialize, Deserialize)]
#[event(name = "strange", topic = "steps")]
struct Strange;

#[derive(Command, Serialize, Deserialize)]
#[command(error = sqlx::Error)]
struct Ring {
    walker: i32,
    step: i32,
    due: SystemTime,
}

/// Whether a bell rings for a step.
pub const fn rings(step: i32) -> bool {
    step % 4 == 1
}

#[event_handler(group = "diary", concurrency = 4, retry(max = 5, first = "50ms", factor = 1.5), unknown = "dead")]
async fn write_down(e: Stepped, tx: &mut Tx<Any>, meta: &Meta, events: &mut Events) -> Result<(), BoxError> {
    let Stepped { walker, step } = e;
    insert(tx, "diary", walker, step).await?;
    if walker == STUMBLES && step % 5 == 2 && meta.attempt() <= 2 {
        return Err("it stumbles".into());
    }
    if walker == FALLS && step == FALLS_AT {
        let mended: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM mended").fetch_one(&mut **tx).await?;
        if mended == 0 {
            return Err("it falls".into());
        }
    }
    events.raise(Noted { walker, step });
    if rings(step) {
        let due = SystemTime::now() + Duration::from_millis(200);
        events.schedule(Ring { walker, step, due }).at(due);
    }
    Ok(())
}

/// Takes its transaction late, and so is called alone.
#[event_handler(group = "index", concurrency = 4)]
async fn index(e: Noted, begin: &mut Begin<Any>) -> Result<(), BoxError> {
    let tx = begin.begin().await?;
    Ok(insert(tx, "noted", e.walker, e.step).await?)
}

#[command_handler]
async fn ring(cmd: Ring, tx: &mut Tx<Any>) -> Result<(), sqlx::Error> {
    let Ring { walker, step, due } = cmd;
    let late = match SystemTime::now().duration_since(due) {
        Ok(late) => i64::try_from(late.as_millis()).unwrap_or(i64::MAX),
        Err(early) => -i64::try_from(early.duration().as_millis()).unwrap_or(i64::MAX),
    };
    let insert = format!("INSERT INTO rung (walker, step, late) VALUES ({walker}, {step}, {late})");
    sqlx::query(AssertSqlSafe(insert)).execute(&mut **tx).await.map(drop)
}

/// With the numbers in it: what stands for one in a statement is called differently by each database.
pub async fn insert(db: &mut AnyConnection, table: &str, walker: i32, step: i32) -> Result<(), sqlx::Error> {
    let insert = format!("INSERT INTO {table} (walker, step) VALUES ({walker}, {step})");
    sqlx::query(AssertSqlSafe(insert)).execute(db).await.map(drop)
}

/// A process of its own, which the other tests start and end.
#[test]
#[ignore = "the other tests start it"]
fn life() {
    let Ok(store) = env::var(STORE) else { return };
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    if env::var(POINT).is_ok() {
        watch(break_there);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        // Before anything stops the process: whoever lets it go on may tell it to end at once.
        let mut told_to_end = signal(SignalKind::terminate()).unwrap();
        let said = env::var(PARTS).unwrap();
        let (walks, parts): (Vec<&str>, Vec<&str>) = said.split(',').partition(|part| *part == "walk");
        let broker = broker();
        let app = app(&store, broker.clone(), &parts).await;
        if !walks.is_empty() {
            tokio::spawn(walk(app.clone(), broker));
        }
        app.run_until(async move {
            told_to_end.recv().await;
        })
        .await
        .unwrap();
    });
}

fn broker() -> Named {
    let url = env::var(BROKER).unwrap();
    let mut broker = Broker::url(url.clone()).partitions(NonZeroU16::new(4).unwrap());
    let leaves = env::var(LEAVES).is_ok();
    if leaves {
        broker = broker.declare(Declare::Leave);
    }
    if url.starts_with("kafka") {
        broker = broker.property("session.timeout.ms", "6000").property("message.timeout.ms", "5000");
        if leaves {
            broker = broker.property("topic.metadata.propagation.max.ms", "1000");
        }
    }
    // Where a point is waited for there are to be several batches, however slow the machine is.
    let most = if env::var(POINT).is_ok() && !is_to_spoil() { 8 } else { usize::MAX };
    Named { broker: broker.connect().unwrap(), name: env::var(NAME).unwrap(), most }
}

/// Whether a batch is to be spoiled: by a message among others, and so large ones are made.
fn is_to_spoil() -> bool {
    env::var(POINT).is_ok_and(|point| point.starts_with(FailPoint::BatchSpoiled.name()))
}

async fn app(store: &str, broker: Named, parts: &[&str]) -> App {
    let settings = if is_to_spoil() { "group.diary.concurrency = 1" } else { "" };
    let mut builder = cqrs::bootstrap!()
        .settings(Settings::from_toml(settings).unwrap())
        .store(Store::url(store))
        .broker(Broker::driver(broker))
        .run(parts.iter().copied());
    if env::var(DEFAULTS).is_err() {
        builder = builder.lease(Duration::from_secs(1)).shutdown_timeout(Duration::from_secs(10));
    }
    builder.await.unwrap()
}

/// Kills the process, or stops it until somebody lets it go on, once the point it was told was passed so often.
fn break_there(point: FailPoint) {
    static PASSED: AtomicU32 = AtomicU32::new(0);
    let told = env::var(POINT).unwrap();
    let [name, count, what] = told.split('*').collect::<Vec<_>>().try_into().unwrap();
    if point.name() == name && PASSED.fetch_add(1, Ordering::SeqCst) + 1 == count.parse::<u32>().unwrap() {
        let signal = if what == "kill" { Signal::KILL } else { Signal::STOP };
        kill_process(getpid(), signal).unwrap();
        // Another thread takes the signal. Where the machine is busy, this one would go on until then, into a transaction.
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Takes the steps that are left, whatever this or an earlier process has taken, and mends the way when all others are there.
async fn walk(app: App, broker: Named) {
    let steps: i32 = env::var(STEPS).unwrap().parse().unwrap();
    let stride = Duration::from_millis(env::var(STRIDE).unwrap().parse().unwrap());
    tokio::spawn(lose(broker));
    loop {
        let open = gate().unwrap_or(steps);
        match step(&app, open).await {
            Ok(false) if open >= steps => break,
            Ok(_) => {}
            Err(error) => tracing::info!(%error, "a step is taken again"),
        }
        tokio::time::sleep(stride).await;
    }
    loop {
        if let Err(error) = mend(&app, steps).await {
            tracing::info!(%error, "the way is mended later");
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

/// How many steps may be taken so far, where somebody says.
fn gate() -> Option<i32> {
    let file = env::var_os(GATE)?;
    Some(std::fs::read_to_string(file).unwrap().parse().unwrap())
}

/// Publishes what nobody can read, until the broker has it.
async fn lose(broker: Named) {
    let delivery = Delivery::new("steps", UNREADABLE);
    while broker.publish(vec![Outgoing { id: Uuid::now_v7(), delivery: delivery.clone() }]).await[0].is_err() {
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

/// All walkers take their next step; `false` where all have arrived.
async fn step(app: &App, steps: i32) -> Result<bool, BoxError> {
    let mut unit: OutsideUnit<Any> = app.unit().await?;
    let next: i64 =
        sqlx::query_scalar("SELECT COALESCE(MAX(step), -1) + 1 FROM raised").fetch_one(&mut **unit.tx()).await?;
    let next = i32::try_from(next)?;
    if next >= steps {
        return Ok(false);
    }
    let raised = format!("INSERT INTO raised VALUES ({next})");
    sqlx::query(AssertSqlSafe(raised)).execute(&mut **unit.tx()).await?;
    for walker in 0..WALKERS {
        unit.events().raise(Stepped { walker, step: next });
    }
    if next == FALLS_AT {
        unit.events().raise(Strange);
    }
    unit.commit().await?;
    Ok(true)
}

/// Replays what is dead and has a way to go, and what nobody will ever take once, whichever process does.
async fn mend(app: &App, steps: i32) -> Result<(), BoxError> {
    let dead = app.dead_letters(100).await?;
    let mut unit: OutsideUnit<Any> = app.unit().await?;
    let count = AssertSqlSafe(format!("SELECT COUNT(*) FROM diary WHERE walker NOT IN ({FALLS}, {LOST})"));
    let there: i64 = sqlx::query_scalar(count).fetch_one(&mut **unit.tx()).await?;
    let is_strange = |letter: &DeadLetter| letter.name == "strange";
    if there < i64::from((WALKERS - 1) * steps) || !dead.iter().any(is_strange) {
        return Ok(());
    }
    let mended = "INSERT INTO mended SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM mended)";
    let is_first = sqlx::query(mended).execute(&mut **unit.tx()).await?.rows_affected() > 0;
    unit.commit().await?;
    for letter in dead {
        if letter.key.as_deref() == Some(&FALLS.to_string()) || (is_strange(&letter) && is_first) {
            app.replay(letter.id).await?;
        } else if letter.payload == UNREADABLE.as_bytes() {
            app.edit_and_replay(letter.id, found()).await?;
        }
    }
    Ok(())
}

/// What was meant, under the same id however often it is said.
fn found() -> String {
    let body = json!({
        "payload": { "walker": LOST, "step": 0 }, "event_id": Uuid::nil(), "event_timestamp": "2026-01-02T03:04:05Z",
        "event_name": "stepped", "topic": "steps",
    });
    body.to_string()
}
