//! Events that sagas wait for, from where they are raised: over a broker, or in this process.

use cqrs::prelude::*;
use cqrs::testing::TestApp;
use cqrs::{ProblemKind, SagaError};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};

#[derive(NotificationEvent, Debug, Clone, Serialize, Deserialize)]
#[event(name = "parcel.arrived", topic = "parcels", key = parcel)]
struct Arrived {
    parcel: u32,
    at: String,
}

#[derive(DomainEvent, Debug, Clone, Serialize, Deserialize)]
struct Signed {
    parcel: u32,
    by: String,
}

/// Raises both, as often as it is told.
#[derive(Command, Serialize, Deserialize)]
struct Deliver {
    parcel: u32,
    at: Vec<String>,
    by: Option<String>,
}

#[command_handler]
async fn deliver(cmd: Deliver, events: &mut Events) {
    for at in cmd.at {
        events.raise(Arrived { parcel: cmd.parcel, at });
    }
    if let Some(by) = cmd.by {
        events.raise(Signed { parcel: cmd.parcel, by });
    }
}

#[saga(name = "parcel", steps = [at_the_depot, at_the_door, signed])]
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Parcel {
    number: u32,
    #[serde(default)]
    seen: Vec<String>,
}

#[saga_step(awaits = Arrived, by = (number, parcel), compensate = none)]
async fn at_the_depot(cx: &mut Parcel, e: &Arrived) {
    cx.seen.push(e.at.clone());
}

#[saga_step(awaits = Arrived, by = (number, parcel), compensate = none)]
async fn at_the_door(cx: &mut Parcel, e: &Arrived) {
    cx.seen.push(e.at.clone());
}

#[saga_step(awaits = Signed, by = (number, parcel), compensate = none)]
async fn signed(cx: &mut Parcel, e: &Signed) {
    cx.seen.push(e.by.clone());
}

fn parcel(number: u32) -> Parcel {
    Parcel { number, seen: Vec::new() }
}

async fn app() -> TestApp {
    super::app(&[]).await.0
}

async fn deliver_to(app: &TestApp, parcel: u32, at: &[&str], by: Option<&str>) {
    let at = at.iter().map(|&at| at.to_owned()).collect();
    app.send(Deliver { parcel, at, by: by.map(str::to_owned) }).await.unwrap();
}

#[tokio::test]
async fn events_come_to_the_sagas_that_wait_for_them_and_to_no_other() {
    let app = app().await;
    let others = app.saga(parcel(2)).id("p2").start().await.unwrap();
    let saga = app.saga(parcel(1)).id("p1");
    let ended = tokio::spawn(saga.into_future());
    deliver_to(&app, 1, &["depot"], None).await;
    deliver_to(&app, 1, &["door"], Some("Ada")).await;
    assert_eq!(ended.await.unwrap().unwrap().seen, ["depot", "door", "Ada"]);
    app.settle().await;
    assert_eq!(app.sagas().context::<Parcel>(others).await.unwrap().unwrap().seen, [""; 0]);
}

#[tokio::test]
async fn events_that_come_before_their_saga_are_kept_for_it() {
    let app = app().await;
    deliver_to(&app, 3, &["depot", "door"], Some("Bob")).await;
    app.settle().await;
    let mut steps = app.saga(parcel(3)).id("p3").steps();
    let mut names = Vec::new();
    while let Some(step) = steps.next().await {
        names.push(step.unwrap().name().to_owned());
    }
    assert_eq!(names, ["at_the_depot", "at_the_door", "signed"]);
    assert_eq!(app.sagas().context::<Parcel>("p3").await.unwrap().unwrap().seen, ["depot", "door", "Bob"]);
}

/// A saga is stuck in nothing: an event that nobody waits for any more changes nothing, and each event is one step's.
#[tokio::test]
async fn an_event_is_taken_by_one_step_and_what_comes_too_often_by_none() {
    let app = app().await;
    let ended = tokio::spawn(app.saga(parcel(4)).id("p4").into_future());
    deliver_to(&app, 4, &["depot"], Some("Eve")).await;
    app.settle().await;
    let (row, steps) = app.sagas().get("p4").await.unwrap().unwrap();
    assert_eq!((row.is_held, steps.len()), (false, 2), "the door waits for an event of its own: {steps:?}");
    deliver_to(&app, 4, &["door", "again"], None).await;
    assert_eq!(ended.await.unwrap().unwrap().seen, ["depot", "door", "Eve"]);
}

#[test]
fn g1_awaiting_without_a_broker_and_sagas_without_a_store_are_wiring_errors() {
    let kinds = |builder: cqrs::Builder| {
        let error = builder.check().unwrap_err();
        let of =
            |kind| error.problems().iter().filter(|problem| problem.kind == kind).map(ToString::to_string).collect();
        (of(ProblemKind::NoStore), of(ProblemKind::NoBroker))
    };
    let (without, _): (Vec<String>, Vec<String>) = kinds(cqrs::bootstrap!().broker(Broker::url("memory:")));
    for saga in ["the saga `parcel` needs a store", "the saga `checkout` needs a store"] {
        assert!(without.iter().any(|problem| problem.contains(saga)), "{without:?}");
    }
    let (none, without) = kinds(cqrs::bootstrap!().store(Store::url("memory:")));
    assert_eq!((none.len(), without.len()), (0, 2), "{without:?}");
    assert!(without[0].contains("`Parcel.at_the_depot` consumes from a broker, and the app has none"), "{without:?}");
}

#[tokio::test]
async fn an_unknown_id_is_said_to_be_one() {
    let error = app().await.sagas().join::<Parcel>("nobody").await.unwrap_err();
    assert!(matches!(error, SagaError::Missing { .. }), "{error}");
}
