//! What is known to go wrong with sagas elsewhere, each tried here. `docs/coming-from-python-cqrs.md` lists them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cqrs::prelude::*;
use cqrs::store::{AuditAction, Driver, MemoryStore, SagaPhase, SagaProgress, SagaStep};
use cqrs::{App, BoxError, SagaError};
use serde::{Deserialize, Serialize};

use super::World;
use super::left::{Left, step};
use super::stopping::{Gate, run};

#[saga(name = "trip", steps = [book, fly, stay])]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Trip {
    to: String,
}

fn trip(to: &str) -> Trip {
    Trip { to: to.to_owned() }
}

#[derive(DomainEvent, Debug, Clone, Serialize, Deserialize)]
struct Booked {
    to: String,
}

/// What a step cannot do without.
struct Ticket;

#[provider(scope = "message")]
fn ticket(world: Inject<World>) -> Result<Ticket, BoxError> {
    if world.fails("ticket") { Err("sold out".into()) } else { Ok(Ticket) }
}

#[saga_step(compensate = unbook)]
async fn book(cx: &mut Trip, world: Inject<World>, key: StepKey, events: &mut Events) {
    world.note(key.to_string());
    events.raise(Booked { to: cx.to.clone() });
}

#[compensation]
async fn unbook(_cx: &mut Trip, world: Inject<World>, key: StepKey, app: &App) -> Result<(), BoxError> {
    note_phase(&world, &key, app).await
}

#[saga_step(compensate = unfly)]
async fn fly(cx: &mut Trip, world: Inject<World>, gate: Inject<Gate>, key: StepKey, _ticket: Inject<Ticket>) {
    world.note(key.to_string());
    if cx.to == "fog" {
        gate.begun.notify_one();
        gate.open.notified().await;
    }
}

#[compensation]
async fn unfly(
    cx: &mut Trip,
    world: Inject<World>,
    gate: Inject<Gate>,
    key: StepKey,
    app: &App,
) -> Result<(), BoxError> {
    if cx.to == "fog on the way back" {
        gate.begun.notify_one();
        gate.open.notified().await;
    }
    note_phase(&world, &key, app).await
}

#[saga_step(compensate = none, fallback = stay_elsewhere)]
async fn stay(_cx: &mut Trip, world: Inject<World>) -> Result<(), BoxError> {
    world.act("stay")
}

#[fallback]
async fn stay_elsewhere(_cx: &mut Trip, world: Inject<World>) -> Result<(), BoxError> {
    world.act("stay elsewhere")
}

/// What anybody else sees of the saga while it is undone.
async fn note_phase(world: &World, key: &StepKey, app: &App) -> Result<(), BoxError> {
    let id = key.as_str().split('/').next().unwrap_or_default();
    let phase = app.sagas().get(id).await?.map_or("nothing", |(row, _)| row.phase.as_str());
    world.note(format!("{key} while {phase}"));
    Ok(())
}

#[event_handler(durable)]
async fn tell(event: &Booked, world: Inject<World>) {
    world.note(format!("told of {}", event.to));
}

#[event_handler]
async fn greet(event: &Booked, world: Inject<World>) -> Result<(), BoxError> {
    if event.to == "mars" {
        world.note("nobody to greet");
        return Err("nobody is there".into());
    }
    Ok(())
}

const NOWHERE_TO_STAY: [&str; 2] = ["stay", "stay elsewhere"];

async fn app_with(store: Store, world: &Arc<World>, gate: &Arc<Gate>) -> App {
    let builder = cqrs::bootstrap!().provide_arc(Arc::clone(world)).provide_arc(Arc::clone(gate));
    builder.store(store).broker(Broker::url("memory:")).lease(Duration::from_millis(300)).await.unwrap()
}

/// A store, and an app on it, in whose world some things fail.
async fn one(failing: &[&'static str]) -> (MemoryStore, App, Arc<World>, Arc<Gate>) {
    let (store, world, gate) = (MemoryStore::new(), Arc::<World>::default(), Arc::<Gate>::default());
    world.failing.lock().unwrap().extend(failing);
    let app = app_with(Store::driver(store.clone()), &world, &gate).await;
    (store, app, world, gate)
}

async fn in_time<T>(future: impl IntoFuture<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("it takes for ever")
}

/// A saga as a process left it that is gone.
async fn left(store: &MemoryStore, id: &str, phase: SagaPhase, steps: Vec<SagaStep>) {
    left_as(1, store, id, phase, steps).await;
}

async fn left_as(version: u32, store: &MemoryStore, id: &str, phase: SagaPhase, steps: Vec<SagaStep>) {
    let context = serde_json::to_string(&trip(id)).unwrap();
    Left { name: "trip", version, context: &context }.behind(store, id, phase, steps).await;
}

fn assert_compensated(ended: Result<Trip, SagaError>, by: &str) {
    let error = ended.unwrap_err();
    assert!(matches!(&error, SagaError::Compensated { step, .. } if step == by), "{error:?}");
}

#[tokio::test]
async fn the_way_back_is_stored_before_its_first_compensation_is_called() {
    let (_, app, world, _) = one(&NOWHERE_TO_STAY).await;
    assert_compensated(in_time(app.saga(trip("york")).id("t")).await, "stay");
    let undone = world.log().into_iter().filter(|what| what.contains("undo")).collect::<Vec<_>>();
    assert_eq!(undone, ["t/fly/undo while compensating", "t/book/undo while compensating"]);
}

/// On the store that lets one write at a time.
#[tokio::test]
async fn nobody_waits_for_a_saga_that_is_being_undone() {
    let (directory, world, gate) = (tempfile::tempdir().unwrap(), Arc::<World>::default(), Arc::<Gate>::default());
    world.failing.lock().unwrap().extend(NOWHERE_TO_STAY);
    let url = format!("sqlite://{}", directory.path().join("trips.db").display());
    let app = app_with(Store::url(url), &world, &gate).await;
    let held = app.saga(trip("fog on the way back")).id("held").start().await.unwrap();
    in_time(gate.begun.notified()).await;
    assert_compensated(in_time(app.saga(trip("york")).id("free")).await, "stay");
    gate.open.notify_one();
    assert_compensated(in_time(app.sagas().join::<Trip>(held)).await, "stay");
}

#[tokio::test]
async fn two_workers_call_each_step_once() {
    let (store, first, world, gate) = one(&[]).await;
    let second = app_with(Store::driver(store.clone()), &world, &gate).await;
    for number in 0..40 {
        left(&store, &format!("t{number}"), SagaPhase::Forward, vec![step("book", SagaProgress::Pausing)]).await;
    }
    let running = [run(&first), run(&second)];
    for number in 0..40 {
        in_time(first.sagas().join::<Trip>(format!("t{number}"))).await.unwrap();
    }
    let log = world.log();
    for number in 0..40 {
        for step in ["book", "fly"] {
            let key = format!("t{number}/{step}");
            assert_eq!(log.iter().filter(|called| **called == key).count(), 1, "{key}");
        }
    }
    for (app, running) in [first, second].into_iter().zip(running) {
        app.shutdown().await;
        running.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn what_is_undone_is_not_undone_again_by_who_takes_the_saga_up() {
    let (store, app, world, _) = one(&[]).await;
    let steps = [("book", SagaProgress::Undoing), ("fly", SagaProgress::Undone), ("stay", SagaProgress::Failed)];
    let steps = steps.map(|(name, progress)| step(name, progress)).to_vec();
    left(&store, "t", SagaPhase::Compensating, steps).await;
    let running = run(&app);
    assert_compensated(in_time(app.sagas().join::<Trip>("t")).await, "stay");
    assert_eq!(world.log(), ["t/book/undo while compensating"]);
    app.shutdown().await;
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_a_step_raises_is_handled_once_whoever_calls_it() {
    let (store, app, world, _) = one(&[]).await;
    left(&store, "york", SagaPhase::Forward, vec![step("book", SagaProgress::Pausing)]).await;
    let later = vec![step("book", SagaProgress::Done), step("fly", SagaProgress::Pausing)];
    left(&store, "leeds", SagaPhase::Forward, later).await;
    let running = run(&app);
    for id in ["york", "leeds"] {
        in_time(app.sagas().join::<Trip>(id)).await.unwrap();
    }
    in_time(app.saga(trip("hull")).id("t")).await.unwrap();
    let told = || {
        let mut told = world.log();
        told.retain(|what| what.starts_with("told of "));
        told.sort();
        told
    };
    in_time(async {
        while told().len() < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    app.shutdown().await;
    running.await.unwrap().unwrap();
    assert_eq!(told(), ["told of hull", "told of york"]);
}

#[tokio::test]
async fn a_handler_of_what_a_step_raises_that_fails_stops_no_saga() {
    let (_, app, world, _) = one(&[]).await;
    in_time(app.saga(trip("mars")).id("t")).await.unwrap();
    assert!(world.log().contains(&"nobody to greet".to_owned()), "{:?}", world.log());
}

#[tokio::test]
async fn a_step_under_way_when_its_saga_is_cancelled_is_undone_with_the_others() {
    let (_, app, world, gate) = one(&[]).await;
    let id = app.saga(trip("fog")).id("t").start().await.unwrap();
    in_time(gate.begun.notified()).await;
    assert!(app.sagas().cancel(id.as_str()).await.unwrap());
    gate.open.notify_one();
    assert_compensated(in_time(app.sagas().join::<Trip>(id)).await, "");
    // The next one may have begun when it heard.
    let log: Vec<_> = world.log().into_iter().filter(|what| what.starts_with("t/")).collect();
    assert_eq!(log, ["t/book", "t/fly", "t/fly/undo while compensating", "t/book/undo while compensating"]);
}

#[tokio::test]
async fn a_dependency_that_cannot_be_made_fails_the_step_that_takes_it() {
    let (_, app, world, _) = one(&["ticket"]).await;
    assert_compensated(in_time(app.saga(trip("york")).id("t")).await, "fly");
    assert_eq!(world.log(), ["t/book", "t/book/undo while compensating"]);
    let error = app.sagas().history("t").await.unwrap()[1].error.clone().unwrap_or_default();
    assert!(error.contains("sold out"), "{error}");
}

#[tokio::test]
async fn a_fallback_that_fails_is_logged_under_its_step() {
    let (_, app, ..) = one(&NOWHERE_TO_STAY).await;
    assert_compensated(in_time(app.saga(trip("york")).id("t")).await, "stay");
    let log = app.sagas().history("t").await.unwrap();
    let failed: Vec<_> = log.iter().filter(|entry| entry.progress == SagaProgress::Failed).collect();
    assert_eq!(failed.len(), 1, "{log:?}");
    assert_eq!((failed[0].step.as_str(), failed[0].is_undo), ("stay", false));
}

#[tokio::test]
async fn the_log_of_a_saga_has_one_order_which_is_that_of_its_calls() {
    let (_, app, ..) = one(&NOWHERE_TO_STAY).await;
    assert_compensated(in_time(app.saga(trip("york")).id("t")).await, "stay");
    let log = app.sagas().history("t").await.unwrap();
    let told: Vec<_> = log.iter().map(|entry| (entry.number, entry.step.as_str(), entry.is_undo)).collect();
    let expected = [(1, "book", false), (2, "fly", false), (3, "stay", false), (4, "fly", true), (5, "book", true)];
    assert_eq!(told, expected);
    assert!(log.iter().all(|entry| entry.began_at <= entry.ended_at), "{log:?}");
}

#[tokio::test]
async fn a_saga_is_gone_on_with_by_no_other_definition_than_its_own() {
    let (store, app, world, _) = one(&[]).await;
    left(&store, "t", SagaPhase::Forward, vec![step("book", SagaProgress::Pausing)]).await;
    let taken =
        |error: SagaError| assert!(matches!(&error, SagaError::IdTaken { id } if id.as_str() == "t"), "{error:?}");
    taken(app.saga(super::checkout(1)).id("t").await.unwrap_err());
    taken(app.sagas().context::<super::Checkout>("t").await.unwrap_err());
    let running = run(&app);
    in_time(app.sagas().join::<Trip>("t")).await.unwrap();
    assert_eq!(world.log().iter().filter(|what| what.starts_with("t/")).count(), 2);
    app.shutdown().await;
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_step_that_takes_longer_than_the_lease_is_called_once() {
    let (store, first, world, gate) = one(&[]).await;
    let second = app_with(Store::driver(store), &world, &gate).await;
    let running = [run(&first), run(&second)];
    let id = first.saga(trip("fog")).id("t").start().await.unwrap();
    in_time(gate.begun.notified()).await;
    // Several times as long.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    gate.open.notify_one();
    in_time(second.sagas().join::<Trip>(id)).await.unwrap();
    assert_eq!(world.log().iter().filter(|what| *what == "t/fly").count(), 1);
    for (app, running) in [first, second].into_iter().zip(running) {
        app.shutdown().await;
        running.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn who_starts_an_id_again_with_another_context_changes_nothing_of_it() {
    let (_, app, _, gate) = one(&[]).await;
    let id = app.saga(trip("fog")).id("t").start().await.unwrap();
    in_time(gate.begun.notified()).await;
    let error = app.saga(trip("york")).id("t").await.unwrap_err();
    assert!(matches!(error, SagaError::IdTaken { .. }), "{error:?}");
    assert_eq!(app.sagas().context::<Trip>("t").await.unwrap(), Some(trip("fog")));
    gate.open.notify_one();
    assert_eq!(in_time(app.sagas().join::<Trip>(id)).await.unwrap(), trip("fog"));
}

#[tokio::test]
async fn stuck_sagas_are_counted_and_who_resumes_one_is_written_down() {
    let (store, app, ..) = one(&[]).await;
    left(&store, "forward", SagaPhase::Forward, vec![step("book", SagaProgress::Pausing)]).await;
    left(&store, "stuck", SagaPhase::Stuck, vec![step("book", SagaProgress::Kept)]).await;
    let counts = app.sagas().counts().await.unwrap();
    let told: Vec<_> = counts.iter().map(|it| (it.saga.as_str(), it.version, it.phase, it.count)).collect();
    assert_eq!(told, [("trip", 1, SagaPhase::Forward, 1), ("trip", 1, SagaPhase::Stuck, 1)]);
    assert!(!app.operator("anna").cancel_saga("stuck").await.unwrap(), "it does not go forward");
    assert!(app.operator("anna").note("the bank is open").resume_saga("stuck").await.unwrap());
    assert!(app.sagas().cancel("forward").await.unwrap());
    let entries = app.audit(9, None).await.unwrap();
    let told: Vec<_> = entries.iter().map(|it| (it.action, it.key.as_deref(), it.note.as_str())).collect();
    let expected =
        [(AuditAction::CancelSaga, Some("forward"), ""), (AuditAction::ResumeSaga, Some("stuck"), "the bank is open")];
    assert_eq!(told, expected);
    assert_eq!(entries[1].by, "anna");
}

#[tokio::test]
async fn what_is_due_is_gone_on_with_on_demand_and_told_of() {
    let (store, first, ..) = one(&[]).await;
    let running = run(&first);
    first.saga(super::Waiting { order: 77 }).id("waits").start().await.unwrap();
    in_time(async {
        while first.sagas().get("waits").await.unwrap().is_none_or(|(row, _)| row.is_held) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    first.shutdown().await;
    running.await.unwrap().unwrap();
    store.sagas().unwrap().poke("waits", SystemTime::now()).await.unwrap();
    let (world, gate) = (Arc::<World>::default(), Arc::<Gate>::default());
    let app = app_with(Store::driver(store.clone()), &world, &gate).await;
    left(&store, "forward", SagaPhase::Forward, vec![step("book", SagaProgress::Pausing)]).await;
    left_as(9, &store, "other", SagaPhase::Forward, vec![step("book", SagaProgress::Pausing)]).await;
    let recovery = in_time(app.sagas().recover()).await.unwrap();
    assert_eq!((recovery.completed, recovery.waiting, recovery.left), (1, 1, 1), "{recovery:?}");
    world.failing.lock().unwrap().extend(NOWHERE_TO_STAY);
    left(&store, "back", SagaPhase::Forward, vec![step("book", SagaProgress::Pausing)]).await;
    let recovery = in_time(app.sagas().recover()).await.unwrap();
    assert_eq!((recovery.completed, recovery.compensated, recovery.stuck), (0, 1, 0), "{recovery:?}");
    let (row, _) = app.sagas().get("waits").await.unwrap().unwrap();
    assert!(!row.is_held && row.phase == SagaPhase::Forward, "{row:?}");
}
