//! Sagas that a later version takes over.

use std::time::{Duration, SystemTime};

use cqrs::prelude::*;
use cqrs::store::{Driver, MemoryStore, SagaPhase, SagaProgress, SagaStep, SagaWait};
use cqrs::{App, SagaError};
use serde::{Deserialize, Serialize};

use super::left::{Left, step};

/// As it was before the first version that is still read.
#[saga(name = "parcel", version = 2, retired)]
#[derive(Serialize, Deserialize)]
struct ParcelV2 {
    street: String,
    done: Vec<String>,
}

#[saga(name = "parcel", version = 3, retired, migrates = ParcelV2)]
#[derive(Serialize, Deserialize)]
struct ParcelV3 {
    address: Vec<String>,
    done: Vec<String>,
}

impl From<ParcelV2> for ParcelV3 {
    fn from(old: ParcelV2) -> Self {
        assert!(old.street != "nowhere", "nobody lives there");
        Self { address: vec![old.street], done: old.done }
    }
}

#[saga(name = "parcel", version = 4, migrates = ParcelV3, steps = [pack, (label, weigh), post, thank])]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Parcel {
    to: String,
    done: Vec<String>,
}

impl From<ParcelV3> for Parcel {
    fn from(old: ParcelV3) -> Self {
        Self { to: old.address.join(", "), done: old.done }
    }
}

#[saga_step(compensate = unpack)]
async fn pack(cx: &mut Parcel) {
    cx.done.push("packed".to_owned());
}

#[compensation]
async fn unpack(cx: &mut Parcel) {
    cx.done.push("unpacked".to_owned());
}

#[derive(Serialize, Deserialize)]
struct Noted(String);

impl Apply<Noted> for Parcel {
    fn apply(&mut self, Noted(note): Noted) {
        self.done.push(note);
    }
}

#[saga_step(compensate = none)]
async fn label(cx: &Parcel) -> Noted {
    Noted(format!("to {}", cx.to))
}

#[saga_step(compensate = none)]
async fn weigh(_cx: &Parcel) -> Noted {
    Noted("weighed".to_owned())
}

#[saga_step(compensate = none)]
async fn post(cx: &mut Parcel) {
    cx.done.push("posted".to_owned());
}

#[saga_step(compensate = none)]
async fn thank(cx: &mut Parcel) {
    cx.done.push("thanked".to_owned());
}

fn done(name: &str) -> SagaStep {
    step(name, SagaProgress::Done)
}

/// Stores a saga as a process of another version has left it.
async fn left(store: &MemoryStore, id: &str, version: u32, context: &str, steps: Vec<SagaStep>) {
    Left { name: "parcel", version, context }.behind(store, id, SagaPhase::Forward, steps).await;
}

const V2: &str = r#"{"street":"High Street 1","done":["old"]}"#;
const V3: &str = r#"{"address":["High Street 1","York"],"done":["old"]}"#;

async fn app_on(store: &MemoryStore) -> App {
    let builder = cqrs::bootstrap!().provide(super::World::default()).provide(super::stopping::Gate::default());
    builder.store(Store::driver(store.clone())).broker(Broker::url("memory:")).await.unwrap()
}

async fn ended(app: &App, id: &str) -> Vec<String> {
    let parcel = app.sagas().join::<Parcel>(id).await.unwrap();
    let (row, _) = app.sagas().get(id).await.unwrap().unwrap();
    assert_eq!((row.version, row.phase), (4, SagaPhase::Completed), "{id}");
    parcel.done
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("it takes for ever")
}

#[tokio::test]
async fn g20_a_saga_goes_on_as_the_version_that_takes_it_over_from_where_it_stood() {
    let store = MemoryStore::new();
    left(&store, "begins", 3, V3, vec![step("pack", SagaProgress::Running)]).await;
    let labelled = SagaStep { returned: Some(b"\"labelled\"".to_vec()), ..done("label") };
    let group = vec![done("pack"), labelled, step("weigh", SagaProgress::Pausing)];
    left(&store, "beside", 3, V3, group).await;
    // What it failed with is no change that waits to be made.
    let refused = SagaStep { returned: Some(b"\"no stamp\"".to_vec()), ..step("post", SagaProgress::Pausing) };
    let grown = vec![done("pack"), done("label"), done("weigh"), refused];
    left(&store, "grown", 2, V2, grown).await;
    let app = app_on(&store).await;
    assert!(app.preflight().await.unwrap().is_ready(), "{}", app.preflight().await.unwrap());
    let before = app.sagas().context::<Parcel>("grown").await.unwrap().unwrap();
    assert_eq!(before, Parcel { to: "High Street 1".to_owned(), done: vec!["old".to_owned()] });
    let running = super::stopping::run(&app);
    let whole = ["old", "packed", "to High Street 1, York", "weighed", "posted", "thanked"];
    assert_eq!(in_time(ended(&app, "begins")).await, whole);
    // What its group's first member returned before is part of the context only now.
    assert_eq!(in_time(ended(&app, "beside")).await, ["old", "labelled", "weighed", "posted", "thanked"]);
    assert_eq!(in_time(ended(&app, "grown")).await, ["old", "posted", "thanked"]);
    app.shutdown().await;
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn g16_g20_what_is_being_undone_is_undone_by_the_version_that_takes_it_over() {
    let store = MemoryStore::new();
    left(&store, "back", 3, V3, vec![done("pack"), done("label"), step("weigh", SagaProgress::Pausing)]).await;
    let sagas = store.sagas().unwrap();
    let app = app_on(&store).await;
    assert!(app.sagas().cancel("back").await.unwrap());
    let running = super::stopping::run(&app);
    let error = in_time(app.sagas().join::<Parcel>("back")).await.unwrap_err();
    assert!(matches!(error, SagaError::Compensated { .. }), "{error:?}");
    let (row, _) = sagas.saga("back").await.unwrap().unwrap();
    assert_eq!(row.version, 4);
    let parcel: Parcel = serde_json::from_slice(&row.context).unwrap();
    assert_eq!(parcel.done, ["old", "unpacked"]);
    app.shutdown().await;
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn g20_what_a_later_version_cannot_go_on_with_is_left_as_it_is_and_named() {
    let store = MemoryStore::new();
    let wait = SagaWait { saga: "parcel".to_owned(), event: "signed".to_owned(), key: "7".to_owned() };
    let waiting = SagaStep { wait: Some(wait), ..step("pack", SagaProgress::Awaiting) };
    let patched = || SagaStep { returned: Some(b"\"labelled\"".to_vec()), ..done("label") };
    let parted = vec![done("pack"), patched(), done("weigh"), step("post", SagaProgress::Pausing)];
    let cases: [(&str, &str, Vec<SagaStep>); 6] = [
        ("overtaken", V3, vec![done("pack"), step("post", SagaProgress::Pausing)]),
        ("unknown", V3, vec![done("pack"), step("wrap", SagaProgress::Pausing)]),
        ("waits", V3, vec![waiting]),
        ("parted", V3, parted),
        ("unread", r#"{"address":7}"#, vec![step("pack", SagaProgress::Pausing)]),
        ("panics", r#"{"street":"nowhere","done":[]}"#, vec![step("pack", SagaProgress::Pausing)]),
    ];
    let ids: Vec<&str> = cases.iter().map(|(id, ..)| *id).collect();
    for (id, context, steps) in cases {
        left(&store, id, if id == "panics" { 2 } else { 3 }, context, steps).await;
    }
    let app = app_on(&store).await;
    let preflight = app.preflight().await.unwrap();
    let said: Vec<(u32, Option<&str>, u64)> =
        preflight.sagas.iter().map(|it| (it.version, it.step.as_deref(), it.count)).collect();
    assert_eq!(said, [(3, Some("post"), 1), (3, Some("wrap"), 1)], "{preflight}");
    assert!(preflight.to_string().contains("behind steps that they have not begun"), "{preflight}");
    let running = super::stopping::run(&app);
    in_time(async {
        for id in ids {
            // Somebody has looked at it, and let it go for another program.
            let is_left = async || {
                let (row, _) = app.sagas().get(id).await.unwrap().unwrap();
                assert!(row.version < 4 && row.phase == SagaPhase::Forward, "{row:?}");
                !row.is_held && row.due_at.is_some_and(|due| due > SystemTime::now())
            };
            while !is_left().await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    })
    .await;
    app.shutdown().await;
    running.await.unwrap().unwrap();
}

/// Sealed it cannot be opened any more: so the later version says, and no earlier one is there to open it.
#[saga(name = "box", version = 2, migrates = BoxV1, steps = [fill, seal])]
#[derive(Serialize, Deserialize)]
struct Box2 {}

#[saga(name = "box", version = 1, retired)]
#[derive(Serialize, Deserialize)]
struct BoxV1 {}

impl From<BoxV1> for Box2 {
    fn from(_: BoxV1) -> Self {
        Self {}
    }
}

#[saga_step(compensate = empty)]
async fn fill(_cx: &mut Box2) {}

#[compensation]
async fn empty(_cx: &mut Box2) {}

#[saga_step(pivot)]
async fn seal(_cx: &mut Box2) {}

#[tokio::test]
async fn g16_g20_what_is_undone_behind_the_pivot_of_a_later_version_is_not_taken_over() {
    let store = MemoryStore::new();
    for (id, fill, seal) in [
        ("sealed", SagaProgress::Done, SagaProgress::Undoing),
        ("unsealed", SagaProgress::Undoing, SagaProgress::Failed),
    ] {
        let left = Left { name: "box", version: 1, context: "{}" };
        left.behind(&store, id, SagaPhase::Compensating, vec![step("fill", fill), step("seal", seal)]).await;
    }
    let app = app_on(&store).await;
    let report = in_time(app.sagas().recover()).await.unwrap();
    assert_eq!((report.left, report.compensated), (1, 1), "{report:?}");
    let (row, _) = app.sagas().get("sealed").await.unwrap().unwrap();
    assert_eq!((row.version, row.phase, row.is_held), (1, SagaPhase::Compensating, false));
    app.shutdown().await;
}

/// Whoever awaits a saga as what it was is told so.
#[tokio::test]
async fn g20_a_program_of_an_earlier_version_does_not_take_a_later_context_for_its_own() {
    let store = MemoryStore::new();
    left(&store, "later", 5, r#"{"to":"York","done":[],"weight":3}"#, vec![done("pack")]).await;
    let app = app_on(&store).await;
    let error = app.sagas().context::<Parcel>("later").await.unwrap_err();
    assert!(matches!(&error, SagaError::UnknownVersion { saga, version: 5 } if saga == "parcel"), "{error:?}");
}
