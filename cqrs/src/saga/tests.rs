//! Sagas from their start to their end, in one process and over several, on the store in memory. What the attributes would write is written
//! out here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::StreamExt;
use serde::{Deserialize, Serialize};

use super::instance::{Instance, Told};
use super::item::{NamedStep, PlaceItem, SagaItem, WayBack};
use super::machine::{Effect, Ended, Input, Phase};
use super::step::{Compensation, SagaContext, SagaStep};
use super::{Apply, SagaError, SagaId, StepKey};
use crate::__private as macros;
use crate::app::App;
use crate::dispatch::thunk::HandleLent;
use crate::message::SourceLocation;
use crate::policy::{HasPolicy, Lent, Policy};
use crate::registry::RetryOptions;
use crate::store::{
    MemoryStore, SagaChange, SagaPhase, SagaProgress, SagaRest, SagaSaved, SagaStart, SagaStarted, SagaStep as StepRow,
};
use crate::unit::role::{CompensationHandler, StepHandler};
use crate::{BoxError, Store};

/// What the steps of all tests did, by the id of their saga.
static WORLD: Mutex<BTreeMap<String, Vec<String>>> = Mutex::new(BTreeMap::new());

fn world(key: &StepKey) -> (String, String) {
    let (saga, step) = key.as_str().split_once('/').unwrap();
    (saga.to_owned(), step.to_owned())
}

/// Notes that a step was called. How often it was before.
fn note(key: &StepKey) -> usize {
    let (saga, step) = world(key);
    let mut world = WORLD.lock().unwrap_or_else(PoisonError::into_inner);
    let done = world.entry(saga).or_default();
    let before = done.iter().filter(|known| **known == step).count();
    done.push(step);
    before
}

fn done(saga: &str) -> Vec<String> {
    WORLD.lock().unwrap_or_else(PoisonError::into_inner).get(saga).cloned().unwrap_or_default()
}

/// A saga whose steps do what its context says.
#[derive(crate::DomainEvent, Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Checkout {
    /// Which steps fail how often.
    fails: BTreeMap<String, usize>,
    passed: Vec<String>,
    labels: Vec<String>,
}

fn checkout(fails: &[(&str, usize)]) -> Checkout {
    let fails = fails.iter().map(|(step, times)| ((*step).to_owned(), *times)).collect();
    Checkout { fails, passed: Vec::new(), labels: Vec::new() }
}

#[derive(Serialize, Deserialize)]
struct Label(String);

impl Apply<Label> for Checkout {
    fn apply(&mut self, Label(label): Label) {
        self.labels.push(label);
    }
}

async fn act(fails: &BTreeMap<String, usize>, key: &StepKey) -> Result<(), BoxError> {
    let before = note(key);
    let step = world(key).1;
    if before < fails.get(&step).copied().unwrap_or(0) {
        tokio::task::yield_now().await;
        return Err(format!("`{step}` does not work").into());
    }
    Ok(())
}

const HERE: SourceLocation = SourceLocation { module: module_path!(), file: file!(), line: line!() };

fn location(line: u32) -> SourceLocation {
    SourceLocation { line, ..HERE }
}

const QUICK: RetryOptions = RetryOptions::new(None, Some(Duration::from_millis(1)), None, None);

macro_rules! function {
    ($name:ident, $role:ident, |$lent:ident, $key:ident| $first:expr => $body:expr, $output:ty) => {
        #[allow(non_camel_case_types, reason = "as functions are named, for which they stand")]
        struct $name;
        impl HandleLent for $name {
            type Message = Checkout;
            type Output = Result<$output, BoxError>;
            fn call<'c>(
                $lent: Lent<'c, Checkout>,
                context: &'c mut macros::Cx<'_>,
                handler: u32,
            ) -> impl Future<Output = Self::Output> + Send {
                let ($key,) = macros::parameters1(context, handler, macros::parameter::<StepKey, $role<Checkout>>());
                let $lent = $first;
                async move { $body }
            }
        }
        impl HasPolicy for $name {
            const POLICY: Policy = Policy { timeout: None, retry: None, breaker: None };
        }
    };
}

macro_rules! step {
    ($name:ident, $undo:ident, $back:expr, $pivot:expr) => {
        function!($name, StepHandler, |lent, key| lent.by_mut() => {
            act(&lent.fails, &key).await?;
            lent.passed.push(world(&key).1);
            Ok(())
        }, ());
        impl SagaStep<Checkout> for $name {
            const ITEM: &'static macros::StepItem = &macros::step::<
                Self, macros::EveryError, macros::NoFallback, Checkout, _, _, _,
            >(stringify!($name), SourceLocation { line: line!(), ..HERE }, &[macros::Need::StepKey], None)
            .with(QUICK, $back, $pivot, None);
        }
    };
}

macro_rules! undo {
    ($name:ident) => {
        function!($name, CompensationHandler, |lent, key| lent.by_mut() => {
            act(&lent.fails, &key).await?;
            lent.passed.push(world(&key).1);
            Ok(())
        }, ());
        impl Compensation<Checkout> for $name {
            const ITEM: &'static macros::CompensationItem = &macros::compensation::<Self, Checkout, _, _, _>(
                stringify!($name),
                SourceLocation { line: line!(), ..HERE },
                &[macros::Need::StepKey],
                QUICK,
            );
        }
    };
}

macro_rules! member {
    ($name:ident) => {
        function!($name, StepHandler, |lent, key| lent.by_ref() => {
            act(&lent.fails, &key).await?;
            Ok(Label(world(&key).1))
        }, Label);
        impl SagaStep<Checkout> for $name {
            const ITEM: &'static macros::StepItem = &macros::Shape::<Result<Label, BoxError>>::MEMBER.item::<
                Self, macros::EveryError, macros::NoFallback, Checkout, Result<Label, BoxError>, _, _,
            >(stringify!($name), SourceLocation { line: line!(), ..HERE }, &[macros::Need::StepKey], None)
            .with(QUICK, WayBack::By(<release as Compensation<Checkout>>::ITEM), false, None);
        }
    };
}

undo!(release);
undo!(refund);
step!(reserve, release, WayBack::By(<release as Compensation<Checkout>>::ITEM), false);
step!(charge, refund, WayBack::By(<refund as Compensation<Checkout>>::ITEM), false);
member!(notify);
member!(print);
step!(ship, none, WayBack::Unsaid, true);
step!(close, none, WayBack::Unsaid, false);

const fn named<S: SagaStep<Checkout>>(name: &'static str) -> NamedStep {
    NamedStep { name, item: S::ITEM, keeper: None }
}

impl SagaContext for Checkout {
    const ITEM: &'static SagaItem = &SagaItem::of::<Self>(&[
        PlaceItem::One(named::<reserve>("reserve")),
        PlaceItem::One(named::<charge>("charge")),
        PlaceItem::Group(&[named::<notify>("notify"), named::<print>("print")]),
        PlaceItem::One(named::<ship>("ship")),
        PlaceItem::One(named::<close>("close")),
    ]);
}

inventory::submit! { *<Checkout as SagaContext>::ITEM }

#[crate::saga(name = "waits", steps = [confirm])]
#[derive(Serialize, Deserialize)]
struct Waits {
    order: u32,
}

#[derive(crate::DomainEvent, Serialize, Deserialize)]
struct Paid {
    number: u32,
}

#[crate::saga_step(awaits = Paid, by = (order, number), timeout = "15m", name = "confirmed", pivot)]
async fn confirm(_context: &mut Waits, _paid: &Paid) {}

async fn app(store: &MemoryStore) -> App {
    crate::Builder::linked(&[]).store(Store::driver(store.clone())).await.unwrap()
}

async fn alone() -> App {
    app(&MemoryStore::new()).await
}

#[tokio::test]
async fn a_saga_goes_from_step_to_step_to_its_end() {
    let _ = location(1);
    let app = alone().await;
    let ended = app.saga(checkout(&[])).id("a").await.unwrap();
    assert_eq!(done("a"), ["reserve", "charge", "notify", "print", "ship", "close"]);
    assert_eq!(ended.passed, ["reserve", "charge", "ship", "close"]);
    assert_eq!(ended.labels, ["notify", "print"], "changes are applied in the order in which the steps are listed");
    let sagas = app.store().unwrap().sagas().unwrap();
    let (row, steps) = sagas.saga("a").await.unwrap().unwrap();
    assert_eq!((row.phase, row.logged, row.is_held, row.due_at), (SagaPhase::Completed, 6, false, None));
    assert!(steps.iter().all(|step| step.progress == SagaProgress::Done));
}

#[tokio::test]
async fn g15_g17_a_step_that_fails_leads_back_in_reverse_order() {
    let app = alone().await;
    let error = app.saga(checkout(&[("print", 1)])).id("b").await.unwrap_err();
    let SagaError::Compensated { step, source } = error else { panic!("{error}") };
    assert_eq!((step.as_str(), source.to_string().as_str()), ("print", "`print` does not work"));
    assert_eq!(done("b"), ["reserve", "charge", "notify", "print", "notify/undo", "charge/undo", "reserve/undo"]);
}

/// Its transaction is committed with the turn, which begins its compensation.
#[tokio::test]
async fn g17_what_a_member_wrote_that_ends_last_is_kept_where_another_one_has_failed() {
    let app = alone().await;
    let plan = app.plan().sagas.get(Checkout::ITEM.context.name, Checkout::ITEM.context.version).unwrap();
    let at = |name: &str| plan.step(name).unwrap();
    let mut saga = Instance::begin(Arc::clone(plan), serde_json::to_vec(&checkout(&[])).unwrap().into());
    let inputs = [
        Input::Start,
        Input::Ended(at("reserve"), Ended::Well),
        Input::Ended(at("charge"), Ended::Well),
        Input::Ended(at("notify"), Ended::Failed),
    ];
    for input in inputs {
        saga = saga.turn(input, Told::default(), SystemTime::now(), 0.5).unwrap().next;
    }
    let turn = saga.turn(Input::Ended(at("print"), Ended::Well), Told::default(), SystemTime::now(), 0.5).unwrap();
    assert_eq!(turn.next.state.phase, Phase::Compensating);
    assert!(turn.has_happened && turn.effects.contains(&Effect::Undo { step: at("print"), attempt: 1 }), "{turn:?}");
}

/// A step that has failed, was resumed and waits once more for an event that does not come.
#[tokio::test]
async fn an_event_that_is_late_leaves_nothing_of_what_its_step_failed_with_before() {
    let app = alone().await;
    let plan = app.plan().sagas.get(Waits::ITEM.context.name, Waits::ITEM.context.version).unwrap();
    let saga = Instance::begin(Arc::clone(plan), serde_json::to_vec(&Waits { order: 7 }).unwrap().into());
    let mut waiting = saga.turn(Input::Start, Told::default(), SystemTime::now(), 0.5).unwrap().next;
    waiting.marks[0].returned = Some(b"\"refused\"".to_vec());
    let told = Told { error: Some("it did not come".to_owned()), ..Told::default() };
    let late = waiting.turn(Input::Late(0), told, SystemTime::now(), 0.5).unwrap().next;
    assert_eq!(late.marks[0].returned, None);
}

#[tokio::test]
async fn behind_the_pivot_a_step_is_tried_again() {
    let app = alone().await;
    let ended = app.saga(checkout(&[("close", 4)])).id("c").await.unwrap();
    assert_eq!(ended.passed.last().unwrap(), "close");
    assert_eq!(done("c").iter().filter(|step| *step == "close").count(), 5);
    let error = app.saga(checkout(&[("ship", 1)])).id("d").await.unwrap_err();
    assert!(matches!(error, SagaError::Compensated { ref step, .. } if step == "ship"), "{error}");
}

#[tokio::test]
async fn g17_a_compensation_is_tried_three_times_and_the_earlier_ones_run() {
    let app = alone().await;
    let error = app.saga(checkout(&[("ship", 1), ("charge/undo", 9)])).id("e").await.unwrap_err();
    assert!(matches!(error, SagaError::Stuck { .. }), "{error}");
    let undone: Vec<String> = done("e").into_iter().filter(|step| step.ends_with("/undo")).collect();
    assert_eq!(undone, ["print/undo", "notify/undo", "charge/undo", "charge/undo", "charge/undo", "reserve/undo"]);
}

#[tokio::test]
async fn g18_who_starts_an_id_again_joins_it() {
    let app = alone().await;
    let (one, other) =
        tokio::join!(app.saga(checkout(&[])).id("f").into_future(), app.saga(checkout(&[])).id("f").into_future());
    assert_eq!(one.unwrap(), other.unwrap());
    assert_eq!(done("f").len(), 6);
    let error = app.saga(checkout(&[("charge", 1)])).id("f").start().await.unwrap_err();
    assert!(matches!(error, SagaError::IdTaken { ref id } if id.as_str() == "f"), "{error}");
}

#[test]
fn context_and_event_find_each_other_by_the_same_bytes() {
    let step = <Waits as SagaContext>::ITEM.steps().next().unwrap();
    let awaits = step.item.awaits.unwrap();
    assert_eq!((step.name, awaits.timeout), ("confirmed", Some(Duration::from_mins(15))));
    let field = (awaits.of_event)(&Paid { number: 7 });
    assert_eq!(field.as_deref(), Some(&b"7"[..]));
    assert_eq!(field, (awaits.of_context)(&Waits { order: 7 }));
    assert_eq!((awaits.of_event)(&Waits { order: 7 }), None);
}

#[tokio::test]
async fn the_steps_of_a_saga_are_a_stream_that_may_be_dropped() {
    let app = alone().await;
    let steps: Vec<String> =
        app.saga(checkout(&[("close", 1)])).id("g").steps().map(|step| step.unwrap().name().to_owned()).collect().await;
    assert_eq!(steps, ["reserve", "charge", "notify", "print", "ship", "close"]);
    let mut steps = app.saga(checkout(&[])).id("h").steps();
    assert_eq!(steps.next().await.unwrap().unwrap().name(), "reserve");
    drop(steps);
    let id: SagaId = app.saga(checkout(&[])).id("h").start().await.unwrap();
    super::call::ended(&app, &id).await.unwrap();
    assert_eq!(done("h").len(), 6);
}

fn row_of(id: &str, steps: Vec<StepRow>) -> SagaStart {
    SagaStart {
        id: id.to_owned(),
        name: "Checkout".to_owned(),
        version: 1,
        context: serde_json::to_vec(&checkout(&[])).unwrap(),
        digest: [0; 32],
        headers: BTreeMap::new(),
        steps,
        at: SystemTime::now(),
        owner: "gone".to_owned(),
        lease_until: SystemTime::now() - Duration::from_secs(1),
    }
}

fn stored(step: &str, progress: SagaProgress, attempt: u32) -> StepRow {
    StepRow { attempt, ..StepRow::new(step, progress) }
}

/// Stores a saga as a process left it that is gone, in this phase.
async fn left(store: &MemoryStore, start: SagaStart, phase: SagaPhase) {
    let sagas = crate::store::driver::Driver::sagas(store).unwrap();
    let id = start.id.clone();
    let SagaStarted::New(claim) = sagas.start(start).await.unwrap() else { panic!("`{id}` was there before") };
    let change = SagaChange::new(claim, phase, SystemTime::now(), SagaRest::Held);
    assert_ne!(sagas.save(change).await.unwrap(), SagaSaved::Lost);
}

#[tokio::test]
async fn g18_what_a_process_left_is_taken_up_where_it_was() {
    let store = MemoryStore::new();
    let steps = vec![stored("reserve", SagaProgress::Done, 0), stored("charge", SagaProgress::Running, 1)];
    left(&store, row_of("left", steps), SagaPhase::Forward).await;
    let (one, two) = (app(&store).await, app(&store).await);
    one.start_parts().await.unwrap();
    two.start_parts().await.unwrap();
    one.sagas().join::<Checkout>("left").await.unwrap();
    assert_eq!(done("left"), ["charge", "notify", "print", "ship", "close"], "and once, though two look for it");
    assert_eq!(one.sagas().history("left").await.unwrap().len(), 5);
}

#[tokio::test]
async fn g16_what_compensates_never_goes_forward() {
    let store = MemoryStore::new();
    let steps = vec![
        stored("reserve", SagaProgress::Done, 0),
        stored("charge", SagaProgress::Undoing, 2),
        stored("notify", SagaProgress::Undone, 0),
        stored("print", SagaProgress::Failed, 0),
    ];
    left(&store, row_of("back", steps), SagaPhase::Compensating).await;
    let app = app(&store).await;
    app.start_parts().await.unwrap();
    let error = app.sagas().join::<Checkout>("back").await.unwrap_err();
    assert!(matches!(error, SagaError::Compensated { ref step, .. } if step == "print"), "{error}");
    assert_eq!(done("back"), ["charge/undo", "reserve/undo"]);
}

#[tokio::test]
async fn a_pause_is_nobodys_and_goes_on_when_it_is_over() {
    let store = MemoryStore::new();
    let pausing = StepRow {
        due_at: Some(SystemTime::now() + Duration::from_hours(1)),
        ..stored("close", SagaProgress::Pausing, 3)
    };
    let done_before = ["reserve", "charge", "notify", "print", "ship"].map(|step| stored(step, SagaProgress::Done, 0));
    left(&store, row_of("pause", done_before.into_iter().chain([pausing]).collect()), SagaPhase::Forward).await;
    let app = app(&store).await;
    app.start_parts().await.unwrap();
    while app.sagas().get("pause").await.unwrap().unwrap().0.is_held {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(done("pause"), Vec::<String>::new());
    app.clock().advance(Duration::from_hours(1));
    app.wake_bell().notify_waiters();
    app.sagas().join::<Checkout>("pause").await.unwrap();
    assert_eq!(done("pause"), ["close"]);
    assert_eq!(app.sagas().history("pause").await.unwrap()[0].attempt, 3);
}

#[tokio::test]
async fn g15_what_is_stuck_is_resumed_and_what_goes_forward_is_cancelled() {
    let app = alone().await;
    app.start_parts().await.unwrap();
    let error = app.saga(checkout(&[("close", 12)])).id("stuck").await.unwrap_err();
    assert!(matches!(error, SagaError::Stuck { .. }), "{error}");
    assert!(!app.sagas().cancel("stuck").await.unwrap());
    assert!(app.sagas().resume("stuck").await.unwrap());
    app.sagas().join::<Checkout>("stuck").await.unwrap();
    assert_eq!(done("stuck").iter().filter(|step| *step == "close").count(), 13);
    assert!(!app.sagas().resume("stuck").await.unwrap());

    let store = MemoryStore::new();
    let pausing = StepRow {
        due_at: Some(SystemTime::now() + Duration::from_hours(1)),
        ..stored("charge", SagaProgress::Pausing, 2)
    };
    left(&store, row_of("cancel", vec![stored("reserve", SagaProgress::Done, 0), pausing]), SagaPhase::Forward).await;
    let app = self::app(&store).await;
    app.start_parts().await.unwrap();
    assert!(app.sagas().cancel("cancel").await.unwrap());
    let error = app.sagas().join::<Checkout>("cancel").await.unwrap_err();
    assert!(matches!(error, SagaError::Compensated { .. }), "{error}");
    assert_eq!(done("cancel"), ["reserve/undo"]);
}
