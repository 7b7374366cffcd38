//! What becomes of sagas whose process stops, and whether the next program can go on with them.

use std::sync::Arc;
use std::time::Duration;

use cqrs::prelude::*;
use cqrs::store::{Driver, MemoryStore, SagaLog, SagaPhase, SagaProgress, SagaStep};
use cqrs::testing::TestApp;
use cqrs::{App, SagaError};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::left::Left;

#[derive(Default)]
pub struct Gate {
    pub begun: Notify,
    pub open: Notify,
}

#[saga(name = "move", version = 4, steps = [pack, load, drive])]
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Move {
    #[serde(default)]
    done: Vec<String>,
}

#[saga_step(compensate = unpack)]
async fn pack(cx: &mut Move, gate: Inject<Gate>) {
    gate.begun.notify_one();
    gate.open.notified().await;
    cx.done.push("packed".to_owned());
}

#[compensation]
async fn unpack(_cx: &mut Move) {}

/// It has no transaction: cut short it would be in doubt.
#[saga_step(compensate = none)]
async fn load(cx: &mut Move, meta: &Meta) {
    cx.done.push(format!("loaded {}", meta.attempt()));
}

#[saga_step(pivot)]
async fn drive(cx: &mut Move) {
    cx.done.push("driven".to_owned());
}

async fn app_on(store: &MemoryStore, gate: &Arc<Gate>) -> App {
    let builder = cqrs::bootstrap!().provide(super::World::default()).provide_arc(Arc::clone(gate));
    builder.store(Store::driver(store.clone())).broker(Broker::url("memory:")).await.unwrap()
}

pub fn run(app: &App) -> JoinHandle<Result<(), cqrs::Error>> {
    let app = app.clone();
    tokio::spawn(async move { app.run_until(app.stopping()).await })
}

fn stop(app: &App) -> JoinHandle<()> {
    let app = app.clone();
    tokio::spawn(async move { app.shutdown().await })
}

#[tokio::test]
async fn g14_a_step_under_way_is_let_end_and_the_next_begins_in_another_process() {
    let (store, gate) = (MemoryStore::new(), Arc::new(Gate::default()));
    let first = app_on(&store, &gate).await;
    let running = run(&first);
    let waiting = tokio::spawn(first.saga(Move { done: Vec::new() }).id("m").into_future());
    gate.begun.notified().await;
    let stopped = stop(&first);
    first.stopping().await;
    gate.open.notify_one();
    let error = tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap().unwrap().unwrap_err();
    assert!(matches!(&error, SagaError::ShuttingDown { id } if id.as_str() == "m"), "{error}");
    tokio::time::timeout(Duration::from_secs(20), stopped).await.expect("nobody is waited for").unwrap();
    running.await.unwrap().unwrap();
    let (row, steps) = store.sagas().unwrap().saga("m").await.unwrap().unwrap();
    assert!(!row.is_held && row.cuts == 0, "{row:?}");
    let load = steps.iter().find(|step| step.step == "load").unwrap();
    assert_eq!((load.progress, load.in_doubt), (SagaProgress::Pausing, false), "it has not begun");
    let second = app_on(&store, &gate).await;
    let running = run(&second);
    let ended = second.sagas().join::<Move>("m").await.unwrap();
    assert_eq!(ended.done, ["packed", "loaded 1", "driven"]);
    let log: Vec<SagaLog> = second.sagas().history("m").await.unwrap();
    assert_eq!(
        log.iter().map(|entry| (&*entry.step, entry.attempt)).collect::<Vec<_>>(),
        [("pack", 1), ("load", 1), ("drive", 1)]
    );
    second.shutdown().await;
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn g20_preflight_names_what_this_program_cannot_go_on_with() {
    let (store, gate) = (MemoryStore::new(), Arc::new(Gate::default()));
    let app = app_on(&store, &gate).await;
    assert!(app.preflight().await.unwrap().is_ready());
    let begin = async |id: &str, name: &str, version: u32, step: &str| {
        let steps = vec![SagaStep::new(step, SagaProgress::Running)];
        Left { name, version, context: "{}" }.behind(&store, id, SagaPhase::Forward, steps).await;
    };
    for (id, version, step) in [("a", 4, "pack"), ("b", 4, "lift"), ("c", 3, "pack"), ("d", 3, "pack")] {
        begin(id, "move", version, step).await;
    }
    begin("e", "settle", 1, "pack").await;
    let preflight = app.preflight().await.unwrap();
    let said: Vec<(&str, u32, Option<&str>, u64)> =
        preflight.sagas.iter().map(|it| (&*it.saga, it.version, it.step.as_deref(), it.count)).collect();
    assert_eq!(said, [("move", 3, None, 2), ("move", 4, Some("lift"), 1), ("settle", 1, None, 1)]);
    let text = preflight.to_string();
    for words in [
        "2 sagas `move`, version 3, cannot go on: this program has version 4 of it",
        "the step `lift`",
        "no saga of that name",
    ] {
        assert!(text.contains(words), "{text}");
    }
}

/// A stop at once after the start.
#[tokio::test]
async fn g14_a_saga_that_is_started_while_the_app_stops_is_stored_and_goes_on_elsewhere() {
    let (store, gate) = (MemoryStore::new(), Arc::new(Gate::default()));
    let app = app_on(&store, &gate).await;
    let stopping = stop(&app);
    app.stopping().await;
    match app.saga(Move { done: Vec::new() }).id("late").start().await {
        Ok(id) => assert_eq!(id.as_str(), "late"),
        Err(error) => panic!("{error}"),
    }
    stopping.await.unwrap();
    let (row, _) = store.sagas().unwrap().saga("late").await.unwrap().unwrap();
    assert!(row.cuts == 0, "{row:?}");
}

#[tokio::test]
async fn test_apps_have_them_too() {
    let gate = Arc::new(Gate::default());
    gate.open.notify_one();
    let builder = cqrs::bootstrap!().provide(super::World::default()).provide_arc(gate);
    let app = TestApp::new(builder.store(Store::url("memory:")).broker(Broker::url("memory:"))).await.unwrap();
    assert_eq!(app.saga(Move { done: Vec::new() }).await.unwrap().done.len(), 3);
}

#[saga(name = "lunch", version = 1, steps = [cook])]
#[derive(Debug, Clone, Serialize, Deserialize)]
struct LunchV1 {
    #[serde(default)]
    done: Vec<String>,
}

#[saga_step(compensate = none)]
async fn cook(cx: &mut LunchV1) {
    cx.done.push("cooked by version 1".to_owned());
}

#[saga(name = "lunch", version = 2, steps = [order, eat])]
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Lunch {
    #[serde(default)]
    done: Vec<String>,
}

#[saga_step(compensate = none)]
async fn order(cx: &mut Lunch) {
    cx.done.push("ordered".to_owned());
}

#[saga_step(compensate = none)]
async fn eat(cx: &mut Lunch) {
    cx.done.push("eaten".to_owned());
}

/// The next process has both.
#[tokio::test]
async fn g20_a_saga_ends_by_the_version_that_it_began_with() {
    let (store, gate) = (MemoryStore::new(), Arc::new(Gate::default()));
    let first = app_on(&store, &gate).await;
    let stopped = stop(&first);
    first.stopping().await;
    first.saga(LunchV1 { done: Vec::new() }).id("old").start().await.unwrap();
    first.saga(Lunch { done: Vec::new() }).id("new").start().await.unwrap();
    stopped.await.unwrap();
    let second = app_on(&store, &gate).await;
    let running = run(&second);
    assert_eq!(second.sagas().join::<LunchV1>("old").await.unwrap().done, ["cooked by version 1"]);
    assert_eq!(second.sagas().join::<Lunch>("new").await.unwrap().done, ["ordered", "eaten"]);
    for (id, version) in [("old", 1), ("new", 2)] {
        assert_eq!(second.sagas().get(id).await.unwrap().unwrap().0.version, version);
    }
    second.shutdown().await;
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn g13_what_has_ended_is_kept_for_its_retention_and_no_longer() {
    let gate = Arc::new(Gate::default());
    gate.open.notify_one();
    let builder = cqrs::bootstrap!().provide(super::World::default()).provide_arc(gate);
    let builder = builder.saga_retention(Duration::from_secs(60 * 60));
    let app = TestApp::new(builder.store(Store::url("memory:")).broker(Broker::url("memory:"))).await.unwrap();
    app.saga(Move { done: Vec::new() }).id("kept").await.unwrap();
    app.advance(Duration::from_secs(30 * 60)).await;
    app.settle().await;
    assert!(app.sagas().get("kept").await.unwrap().is_some());
    app.advance(Duration::from_secs(45 * 60)).await;
    let gone = async {
        while app.sagas().get("kept").await.unwrap().is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.expect("it goes with the next sweep");
}
