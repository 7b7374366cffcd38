//! How many sagas of one name a process goes on with at once, and how many it takes on in a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cqrs::prelude::*;
use cqrs::store::{MemoryStore, SagaPhase, SagaProgress};
use cqrs::{App, SagaError, Settings};
use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::World;
use super::left::{Left, step};
use super::stopping::{Gate, run};

/// Books of a library: so many at once are at the desk.
#[saga(name = "loan", steps = [hand_out], concurrency = 2)]
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Loan {
    book: u32,
}

#[saga(name = "reminder", steps = [remind], rate = "5/s")]
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Reminder;

/// More than one process goes on with at once of all sagas.
#[saga(name = "renewal", steps = [renew], rate = "10000/s")]
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Renewal;

/// As it was before the other one, which says less.
#[saga(name = "penalty", version = 1, steps = [collect], concurrency = 9)]
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Penalty1;

#[saga(name = "penalty", version = 2, steps = [collect_one_by_one], concurrency = 1)]
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Penalty2;

/// It has none.
#[saga(name = "return", steps = [put_back])]
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Return;

#[saga(name = "reservation", steps = [note_down, returned], concurrency = 1)]
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Reservation {
    book: u32,
}

#[derive(DomainEvent, Debug, Clone, Serialize, Deserialize)]
struct Returned {
    book: u32,
}

/// How many are at the desk, and how many there were at most.
pub struct Desk {
    now: AtomicUsize,
    most: AtomicUsize,
    served: AtomicUsize,
    /// One for each that may leave.
    leave: Semaphore,
}

impl Default for Desk {
    fn default() -> Self {
        Self::with(Semaphore::MAX_PERMITS)
    }
}

impl Desk {
    /// A world whose desk so many may leave.
    fn world(permits: usize) -> Arc<World> {
        Arc::new(World { desk: Self::with(permits), ..World::default() })
    }

    fn with(permits: usize) -> Self {
        Self { now: 0.into(), most: 0.into(), served: 0.into(), leave: Semaphore::new(permits) }
    }

    async fn serve(&self) {
        self.most.fetch_max(self.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(5)).await;
        self.leave.acquire().await.unwrap().forget();
        self.now.fetch_sub(1, Ordering::SeqCst);
        self.served.fetch_add(1, Ordering::SeqCst);
    }

    fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }

    async fn until_there_are(&self, count: usize) {
        let there = async {
            while self.now.load(Ordering::SeqCst) < count {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), there).await.expect("they come to the desk");
    }
}

#[saga_step(compensate = none)]
async fn hand_out(_cx: &mut Loan, world: Inject<World>) {
    world.desk.serve().await;
}

#[saga_step(compensate = none)]
async fn collect(_cx: &mut Penalty1, world: Inject<World>) {
    world.desk.serve().await;
}

#[saga_step(compensate = none)]
async fn collect_one_by_one(_cx: &mut Penalty2, world: Inject<World>) {
    world.desk.serve().await;
}

#[saga_step(compensate = none)]
async fn renew(_cx: &mut Renewal, world: Inject<World>) {
    world.desk.serve().await;
}

#[saga_step(compensate = none)]
async fn remind(_cx: &mut Reminder) {}

#[saga_step(compensate = none)]
async fn put_back(_cx: &mut Return) {}

#[saga_step(compensate = none)]
async fn note_down(_cx: &mut Reservation, world: Inject<World>) {
    world.desk.serve().await;
}

#[saga_step(awaits = Returned, by = book, compensate = none)]
async fn returned(_cx: &mut Reservation, _event: &Returned) {}

#[derive(Command)]
struct Bring(u32);

#[command_handler]
async fn bring(cmd: Bring, events: &mut Events) {
    events.raise(Returned { book: cmd.0 });
}

fn builder(store: &MemoryStore, world: &Arc<World>) -> cqrs::Builder {
    let builder = cqrs::bootstrap!().provide(Gate::default()).provide_arc(Arc::clone(world));
    builder.store(Store::driver(store.clone())).broker(Broker::url("memory:"))
}

async fn app_on(store: &MemoryStore, world: &Arc<World>) -> App {
    builder(store, world).await.unwrap()
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_mins(1), what).await.expect("it ends")
}

fn loans(app: &App, count: u32) -> impl Future<Output = Result<Vec<Loan>, SagaError>> + use<> {
    try_join_all((0..count).map(|book| app.saga(Loan { book }).id(format!("loan-{book}")).into_future()))
}

#[tokio::test]
async fn so_many_of_a_name_go_on_at_once_and_the_others_wait_for_their_turn() {
    let (store, world) = (MemoryStore::new(), Arc::new(World::default()));
    let app = app_on(&store, &world).await;
    let running = run(&app);
    assert_eq!(within(loans(&app, 20)).await.unwrap().len(), 20);
    assert_eq!((world.desk.most(), world.desk.served.load(Ordering::SeqCst)), (2, 20), "each once");
    app.shutdown().await;
    running.await.unwrap().unwrap();
}

/// Nobody there takes up what is stored.
#[tokio::test]
async fn before_the_app_runs_who_starts_one_waits_for_a_place_and_who_joins_one_does_not() {
    let (store, world) = (MemoryStore::new(), Desk::world(0));
    let app = app_on(&store, &world).await;
    let first = app.saga(Loan { book: 1 }).id("one").start().await.unwrap();
    app.saga(Loan { book: 2 }).id("two").start().await.unwrap();
    world.desk.until_there_are(2).await;
    let mut third = tokio::spawn(app.saga(Loan { book: 3 }).id("three").into_future());
    within(app.saga(Loan { book: 1 }).id("one").start()).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(100), &mut third).await.is_err(), "it has no place");
    assert!(app.sagas().get("three").await.unwrap().is_none(), "nor is it stored");
    world.desk.leave.add_permits(3);
    within(third).await.unwrap().unwrap();
    within(app.sagas().join::<Loan>(first)).await.unwrap();
    assert_eq!(world.desk.most(), 2);
    app.shutdown().await;
}

#[tokio::test]
async fn those_of_a_process_that_is_gone_are_taken_up_so_many_at_once() {
    let (store, world) = (MemoryStore::new(), Arc::new(World::default()));
    for book in 0..20 {
        let loan = Left { name: "loan", version: 1, context: &format!(r#"{{"book": {book}}}"#) };
        let steps = vec![step("hand_out", SagaProgress::Pausing)];
        loan.behind(&store, &format!("loan-{book}"), SagaPhase::Forward, steps).await;
    }
    let app = app_on(&store, &world).await;
    let report = within(app.sagas().recover()).await.unwrap();
    assert_eq!((report.completed, world.desk.most()), (20, 2), "{report:?}");
    app.shutdown().await;
}

#[tokio::test]
async fn those_that_have_no_limits_do_not_wait_for_those_that_have() {
    let (store, world) = (MemoryStore::new(), Desk::world(0));
    for number in 0..300 {
        let loan = Left { name: "loan", version: 1, context: &format!(r#"{{"book": {number}}}"#) };
        let steps = vec![step("hand_out", SagaProgress::Pausing)];
        loan.behind(&store, &format!("loan-{number}"), SagaPhase::Forward, steps).await;
    }
    for number in 0..20 {
        let left = Left { name: "return", version: 1, context: "null" };
        let steps = vec![step("put_back", SagaProgress::Pausing)];
        left.behind(&store, &format!("return-{number}"), SagaPhase::Forward, steps).await;
    }
    let app = app_on(&store, &world).await;
    let running = run(&app);
    world.desk.until_there_are(2).await;
    // Others claim and begin as ever.
    for number in 0..20 {
        within(app.sagas().join::<Return>(format!("return-{number}"))).await.unwrap();
    }
    within(app.saga(Return).into_future()).await.unwrap();
    assert_eq!(world.desk.served.load(Ordering::SeqCst), 0);
    world.desk.leave.add_permits(300);
    for number in 0..300 {
        within(app.sagas().join::<Loan>(format!("loan-{number}"))).await.unwrap();
    }
    assert_eq!(world.desk.most(), 2);
    app.shutdown().await;
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn one_that_waits_has_no_place() {
    let (store, world) = (MemoryStore::new(), Arc::new(World::default()));
    let app = app_on(&store, &world).await;
    let running = run(&app);
    let mut ids = Vec::new();
    for book in [1, 2, 3] {
        ids.push(app.saga(Reservation { book }).id(format!("reservation-{book}")).start().await.unwrap());
    }
    // All of them have been at the desk, though none of them has ended.
    within(async {
        while world.desk.served.load(Ordering::SeqCst) < 3 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    for book in [1, 2, 3] {
        app.send(Bring(book)).await.unwrap();
    }
    for id in ids {
        within(app.sagas().join::<Reservation>(id)).await.unwrap();
    }
    assert_eq!(world.desk.most(), 1);
    app.shutdown().await;
    running.await.unwrap().unwrap();
}

/// Those that were claimed and the rate lets no more of, and those whose owner still seems to have them.
#[tokio::test]
async fn what_is_taken_up_on_demand_is_taken_up_to_the_last_at_its_rate() {
    let (store, world) = (MemoryStore::new(), Arc::new(World::default()));
    for number in 0..13 {
        let left = Left { name: "reminder", version: 1, context: "null" };
        let steps = vec![step("remind", SagaProgress::Pausing)];
        left.behind(&store, &format!("reminder-{number}"), SagaPhase::Forward, steps).await;
    }
    let app = app_on(&store, &world).await;
    let begun = Instant::now();
    let report = within(app.sagas().recover()).await.unwrap();
    assert_eq!(report.completed, 13, "{report:?}");
    assert!(begun.elapsed() >= Duration::from_secs(2), "five, five, and three");
    app.shutdown().await;
}

/// A rate, whatever its backlog, is no reason to leave others alone.
#[tokio::test]
async fn a_backlog_of_one_holds_up_no_other() {
    let (store, world) = (MemoryStore::new(), Desk::world(0));
    for number in 0..600 {
        let left = Left { name: "renewal", version: 1, context: "null" };
        let steps = vec![step("renew", SagaProgress::Pausing)];
        left.behind(&store, &format!("renewal-{number}"), SagaPhase::Forward, steps).await;
    }
    let left = Left { name: "return", version: 1, context: "null" };
    let steps = vec![step("put_back", SagaProgress::Pausing)];
    left.behind(&store, "return", SagaPhase::Forward, steps).await;
    let app = app_on(&store, &world).await;
    let running = run(&app);
    within(app.sagas().join::<Return>("return")).await.unwrap();
    assert_eq!(world.desk.served.load(Ordering::SeqCst), 0, "all that were claimed of it are there still");
    world.desk.leave.add_permits(600);
    within(app.sagas().join::<Renewal>("renewal-599")).await.unwrap();
    app.shutdown().await;
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_the_last_version_says_holds_for_all() {
    let (store, world) = (MemoryStore::new(), Arc::new(World::default()));
    let app = app_on(&store, &world).await;
    let running = run(&app);
    let earlier = try_join_all((0..5).map(|_| app.saga(Penalty1).into_future()));
    let later = try_join_all((0..5).map(|_| app.saga(Penalty2).into_future()));
    let (earlier, later) = within(async { tokio::join!(earlier, later) }).await;
    assert_eq!((earlier.unwrap().len(), later.unwrap().len(), world.desk.most()), (5, 5, 1));
    app.shutdown().await;
    running.await.unwrap().unwrap();
}

/// Only a lower bound: how much longer it takes is the machine's affair.
#[tokio::test]
async fn so_many_are_taken_on_in_a_time() {
    for runs in [true, false] {
        let (store, world) = (MemoryStore::new(), Arc::new(World::default()));
        let app = app_on(&store, &world).await;
        let running = runs.then(|| run(&app));
        let begun = Instant::now();
        let all = (0..12).map(|number| app.saga(Reminder).id(format!("reminder-{number}")).into_future());
        within(try_join_all(all)).await.unwrap();
        assert!(begun.elapsed() >= Duration::from_secs(2), "five, five, and two");
        app.shutdown().await;
        if let Some(running) = running {
            running.await.unwrap().unwrap();
        }
    }
}

#[tokio::test]
async fn settings_say_how_many_before_the_attribute_does() {
    let (store, world) = (MemoryStore::new(), Arc::new(World::default()));
    let settings = Settings::from_toml("[saga.loan]\nconcurrency = 1\n[saga.return]\nrate = '5/s'").unwrap();
    let app = builder(&store, &world).settings(settings).await.unwrap();
    let running = run(&app);
    within(loans(&app, 5)).await.unwrap();
    assert_eq!(world.desk.most(), 1);
    let begun = Instant::now();
    within(try_join_all((0..6).map(|_| app.saga(Return).into_future()))).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(1));
    app.shutdown().await;
    running.await.unwrap().unwrap();

    let unknown = Settings::from_toml("[saga.lone]\nconcurrency = 1").unwrap();
    let error = builder(&store, &world).settings(unknown).check().unwrap_err().to_string();
    let said = "the settings speak of the saga `lone`, which this app does not have";
    assert!(error.contains(said) && error.contains("did you mean `loan`?"), "{error}");
}
