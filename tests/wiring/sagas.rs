//! Sagas as they are written, on the store in memory: forward and back, side by side, by a fallback, and out of time.

mod around;
mod awaiting;
mod diagrams;
mod holes;
mod left;
mod limits;
mod refusals;
mod stopping;
mod versions;

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use cqrs::prelude::*;
use cqrs::store::{AwaitedEvent, Driver, MemoryStore};
use cqrs::testing::TestApp;
use cqrs::{BoxError, SagaError, SagaId};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What steps note, and which of them are to fail.
#[derive(Default)]
struct World {
    log: Mutex<Vec<String>>,
    failing: Mutex<HashSet<&'static str>>,
    desk: limits::Desk,
}

impl World {
    fn note(&self, what: impl Into<String>) {
        self.log.lock().unwrap().push(what.into());
    }

    fn act(&self, step: &'static str) -> Result<(), BoxError> {
        self.note(step);
        if self.fails(step) {
            return Err(format!("`{step}` does not work").into());
        }
        Ok(())
    }

    fn fails(&self, step: &str) -> bool {
        self.failing.lock().unwrap().contains(step)
    }

    fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }
}

#[saga(name = "checkout", version = 2, steps = [reserve, charge, (notify, print_label), reserve as reserve_again, ship])]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Checkout {
    order: u32,
    #[serde(default)]
    reserved: u32,
    #[serde(default)]
    payment: Option<String>,
    #[serde(default)]
    told: bool,
    #[serde(default)]
    labels: Vec<String>,
}

fn checkout(order: u32) -> Checkout {
    Checkout { order, reserved: 0, payment: None, told: false, labels: Vec::new() }
}

#[saga_step(compensate = release, retry(max = 2, first = "1ms"), timeout = "10s")]
async fn reserve(cx: &mut Checkout, world: Inject<World>, key: StepKey) -> Result<(), BoxError> {
    world.act("reserve")?;
    cx.reserved += 1;
    world.note(key.to_string());
    Ok(())
}

#[compensation]
async fn release(cx: &mut Checkout, world: Inject<World>, key: StepKey) {
    cx.reserved -= 1;
    world.note(format!("{key} of {}, {} left", key.of_step(), cx.reserved));
}

#[saga_step(compensate = refund, fallback = charge_elsewhere, breaker(failures = 100))]
async fn charge(cx: &mut Checkout, world: Inject<World>) -> Result<(), BoxError> {
    cx.payment = Some("half of it".to_owned());
    world.act("charge")?;
    cx.payment = Some("bank".to_owned());
    Ok(())
}

#[fallback]
async fn charge_elsewhere(
    cx: &mut Checkout,
    world: Inject<World>,
    cause: Cause<BoxError>,
    key: StepKey,
) -> Result<(), BoxError> {
    world.note(format!("{key}: {:?} since {cause}", cx.payment));
    cx.payment = Some("elsewhere".to_owned());
    Ok(())
}

#[compensation(retry(max = 2, first = "1ms"))]
async fn refund(cx: &Checkout, world: Inject<World>) -> Result<(), BoxError> {
    world.note(format!("refund {}", cx.payment.as_deref().unwrap_or("nothing")));
    world.act("refund")
}

#[derive(Serialize, Deserialize)]
struct Told;

impl Apply<Told> for Checkout {
    fn apply(&mut self, Told: Told) {
        self.told = true;
    }
}

impl Apply<String> for Checkout {
    fn apply(&mut self, label: String) {
        self.labels.push(label);
    }
}

#[saga_step(compensate = none)]
async fn notify(_cx: &Checkout, world: Inject<World>) -> Result<Told, BoxError> {
    world.act("notify")?;
    Ok(Told)
}

#[saga_step(compensate = none, name = "print")]
async fn print_label(cx: &Checkout) -> String {
    format!("order {} paid by {}", cx.order, cx.payment.as_deref().unwrap_or("nobody"))
}

#[saga_step(pivot)]
async fn ship(_cx: &mut Checkout, world: Inject<World>, meta: &Meta) -> Result<(), BoxError> {
    world.act("ship")?;
    assert_eq!(meta.attempt(), 1);
    Ok(())
}

#[saga(steps = [slow])]
#[derive(Debug, Serialize, Deserialize)]
struct Hurry;

#[saga_step(compensate = calm, timeout = "20ms")]
async fn slow(_cx: &mut Hurry, world: Inject<World>) {
    world.note("slow");
    tokio::time::sleep(Duration::from_secs(60)).await;
}

#[compensation]
async fn calm(_cx: &mut Hurry, world: Inject<World>) {
    world.note("calm");
}

#[saga(steps = [confirm])]
#[derive(Debug, Serialize, Deserialize)]
struct Waiting {
    order: u32,
}

#[derive(DomainEvent, Debug, Clone, Serialize, Deserialize)]
struct Paid {
    order_id: u32,
}

#[saga_step(awaits = Paid, by = (order, order_id), timeout = "15m", compensate = none)]
async fn confirm(_cx: &mut Waiting, paid: &Paid, world: Inject<World>) {
    world.note(format!("{} is paid", paid.order_id));
}

async fn app(failing: &[&'static str]) -> (TestApp, Arc<World>) {
    app_on(Store::url("memory:"), failing).await
}

async fn app_on(store: Store, failing: &[&'static str]) -> (TestApp, Arc<World>) {
    let world = Arc::new(World { failing: Mutex::new(failing.iter().copied().collect()), ..World::default() });
    let builder = cqrs::bootstrap!().store(store).broker(Broker::url("memory:"));
    let builder = builder.provide_arc(Arc::clone(&world)).provide(stopping::Gate::default());
    (TestApp::new(builder).await.unwrap(), world)
}

/// Hands an event to the step that waits for it, as it is stored when it comes.
async fn hand_in(store: &MemoryStore, saga: &str, event: &Paid) {
    let sagas = store.sagas().unwrap();
    let wait = loop {
        let (_, steps) = sagas.saga(saga).await.unwrap().unwrap();
        if let Some(wait) = steps.into_iter().find_map(|step| step.wait) {
            break wait;
        }
        tokio::task::yield_now().await;
    };
    let now = SystemTime::now();
    let event = AwaitedEvent {
        id: Uuid::now_v7(),
        wait,
        version: 1,
        payload: serde_json::to_vec(event).unwrap(),
        headers: BTreeMap::new(),
        at: now,
    };
    let mut tx = store.begin().await.unwrap();
    tx.keep_awaited(event, now).await.unwrap();
    tx.commit().await.unwrap();
    sagas.tell(now).await.unwrap();
}

#[tokio::test]
async fn a_saga_goes_forward_and_takes_the_changes_of_its_group() {
    let (app, world) = app(&[]).await;
    let ended = app.saga(checkout(7)).id("c7").await.unwrap();
    let labels = vec!["order 7 paid by bank".to_owned()];
    assert_eq!(ended, Checkout { order: 7, reserved: 2, payment: Some("bank".to_owned()), told: true, labels });
    let log = world.log();
    assert_eq!(log, ["reserve", "c7/reserve", "charge", "notify", "reserve", "c7/reserve_again", "ship"]);
}

#[tokio::test]
async fn its_steps_are_known_by_their_stored_names() {
    let (app, _) = app(&[]).await;
    let steps: Vec<String> = app.saga(checkout(8)).steps().map(|step| step.unwrap().name().to_owned()).collect().await;
    assert_eq!(steps.len(), 6);
    let names: HashSet<&str> = steps.iter().map(String::as_str).collect();
    assert_eq!(names, HashSet::from(["reserve", "charge", "notify", "print", "reserve_again", "ship"]));
}

/// Whoever knows its id alone follows it, from the start or from where he was.
#[tokio::test]
async fn a_saga_that_is_there_is_followed_by_its_id() {
    let (app, _) = app(&[]).await;
    let missing: Vec<_> = app.sagas().steps("c81").collect().await;
    assert!(matches!(&missing[..], [Err(SagaError::Missing { id })] if id.as_str() == "c81"), "{missing:?}");
    app.saga(checkout(81)).id("c81").await.unwrap();
    let all: Vec<_> = app.sagas().steps("c81").map(Result::unwrap).collect().await;
    assert_eq!(all.iter().map(|step| step.number()).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    let rest: Vec<_> = app.sagas().steps("c81").after(4).map(Result::unwrap).collect().await;
    assert_eq!(rest, all[4..]);
    assert!(app.sagas().steps("c81").after(6).next().await.is_none());
}

#[tokio::test]
async fn a_pivot_that_fails_leads_back_by_the_compensations() {
    let (app, world) = app(&["ship"]).await;
    let error = app.saga(checkout(9)).id("c9").await.unwrap_err();
    assert!(matches!(&error, SagaError::Compensated { step, .. } if step == "ship"), "{error}");
    let log = world.log();
    let back = log.iter().position(|what| what == "ship").unwrap() + 1;
    let undone = ["c9/reserve_again/undo of c9/reserve_again, 1 left", "refund bank", "refund"];
    assert_eq!(log[back..back + 3], undone);
    assert_eq!(log[back + 3..], ["c9/reserve/undo of c9/reserve, 0 left"]);
}

#[tokio::test]
async fn one_failure_in_a_group_and_nothing_of_it_is_applied() {
    let (app, world) = app(&["notify"]).await;
    let error = app.saga(checkout(10)).id("c10").await.unwrap_err();
    assert!(matches!(&error, SagaError::Compensated { step, .. } if step == "notify"), "{error}");
    assert_eq!(world.log().last().unwrap(), "c10/reserve/undo of c10/reserve, 0 left");
}

#[tokio::test]
async fn g19_a_fallback_sees_the_context_from_before_its_step() {
    let (app, world) = app(&["charge"]).await;
    let ended = app.saga(checkout(11)).id("c11").await.unwrap();
    assert_eq!(ended.payment.as_deref(), Some("elsewhere"));
    assert!(world.log().contains(&"c11/charge: None since `charge` does not work".to_owned()), "{:?}", world.log());
}

#[tokio::test]
async fn attributes_say_how_often_steps_and_compensations_are_tried() {
    let (app, world) = app(&["ship", "refund"]).await;
    let error = app.saga(checkout(12)).await.unwrap_err();
    assert!(matches!(&error, SagaError::Stuck { step, .. } if step == "charge"), "{error:?}");
    assert_eq!(world.log().iter().filter(|what| *what == "refund").count(), 2);
    assert!(
        world.log().last().unwrap().ends_with("/reserve, 0 left"),
        "one that gives up does not stop the earlier ones"
    );
    world.failing.lock().unwrap().insert("reserve");
    app.saga(checkout(13)).await.unwrap_err();
    assert_eq!(world.log().iter().rev().take_while(|what| *what == "reserve").count(), 2);
}

#[tokio::test]
async fn an_attempt_that_takes_too_long_may_have_happened() {
    let (app, world) = app(&[]).await;
    let error = app.saga(Hurry).await.unwrap_err();
    assert!(matches!(&error, SagaError::Compensated { step, .. } if step == "slow"), "{error}");
    assert_eq!(world.log(), ["slow", "calm"]);
}

#[tokio::test]
async fn a_step_waits_for_its_event_no_longer_than_its_timeout() {
    let (app, world) = app(&[]).await;
    let id: SagaId = app.saga(Waiting { order: 3 }).id("w3").start().await.unwrap();
    assert_eq!(id.as_str(), "w3");
    app.advance(Duration::from_secs(60 * 16)).await;
    let error = app.saga(Waiting { order: 3 }).id("w3").await.unwrap_err();
    assert!(matches!(&error, SagaError::Compensated { step, .. } if step == "confirm"), "{error}");
    assert!(world.log().is_empty());
}

#[tokio::test]
async fn a_step_is_given_the_event_that_it_has_waited_for() {
    let store = MemoryStore::new();
    let (app, world) = app_on(Store::driver(store.clone()), &[]).await;
    app.saga(Waiting { order: 4 }).id("w4").start().await.unwrap();
    hand_in(&store, "w4", &Paid { order_id: 4 }).await;
    assert_eq!(app.saga(Waiting { order: 4 }).id("w4").await.unwrap().order, 4);
    assert_eq!(world.log(), ["4 is paid"]);
}

#[tokio::test]
async fn steps_stay_ordinary_functions() {
    let world = || Inject::new(World::default());
    let mut context = checkout(1);
    reserve(&mut context, world(), StepKey::from("s/reserve")).await.unwrap();
    assert_eq!(print_label(&context).await, "order 1 paid by nobody");
    confirm(&mut Waiting { order: 1 }, &Paid { order_id: 1 }, world()).await;
    assert_eq!(context.reserved, 1);
}
