//! The relay against a store and a broker that do what the test says.

pub(crate) mod fake;

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::fake::{FakeBroker, FakeStore, Mood, State};
use super::{Relay, RelaySettings};
use crate::broker::driver::{Driver as _, Settlement, Subscription};
use crate::broker::{self, MemoryBroker};
use crate::clock::Clock;
use crate::retry::RetryPolicy;

const MS: Duration = Duration::from_millis(1);

struct Bench {
    store: Arc<FakeStore>,
    clock: Arc<Clock>,
    wake: Arc<Notify>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

fn quick() -> RelaySettings {
    RelaySettings {
        lease: MS * 300,
        poll_first: MS * 5,
        poll_ceiling: MS * 50,
        retry: RetryPolicy { first: MS * 10, ceiling: MS * 40, ..RelaySettings::default().retry },
        shutdown_timeout: MS * 200,
        ..RelaySettings::default()
    }
}

fn start(store: &Arc<FakeStore>, broker: Arc<dyn broker::driver::Driver>, settings: RelaySettings) -> Bench {
    let (clock, wake, stop) = (Arc::new(Clock::default()), Arc::new(Notify::new()), CancellationToken::new());
    let relay =
        Relay { store: store.clone(), broker, clock: clock.clone(), owner: "me".into(), wake: wake.clone(), settings };
    let task = tokio::spawn(relay.run(stop.clone()));
    Bench { store: store.clone(), clock, wake, stop, task }
}

impl Bench {
    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(10), "not in ten seconds: {what}");
        tokio::time::sleep(MS).await;
    }
}

fn store(rows: &[(Option<&str>, &str)]) -> Arc<FakeStore> {
    let store = Arc::new(FakeStore::default());
    for (key, text) in rows {
        store.add("t", *key, text);
    }
    store
}

/// The texts that begin with a key's letter, in the order in which the broker took them.
fn of_key(broker: &FakeBroker, key: &str) -> Vec<String> {
    broker.taken().into_iter().filter(|text| text.starts_with(key)).collect()
}

#[tokio::test]
async fn rows_are_published_in_the_order_of_each_key_over_many_claims() {
    let store = Arc::new(FakeStore::default());
    for n in 100..600 {
        let key = ["a", "b", "c"][n % 3];
        store.add("t", Some(key), &format!("{key}{n}"));
    }
    let broker = Arc::new(FakeBroker::new(|_| Mood::Take));
    let bench = start(&store, broker.clone(), RelaySettings { batch: 20, ..quick() });
    until("everything is published", || store.all_published()).await;
    bench.stop().await;
    for key in ["a", "b", "c"] {
        assert!(of_key(&broker, key).is_sorted());
    }
    assert_eq!(broker.taken().len(), 500);
    assert!(store.settles.load(SeqCst) < 200, "rows are settled together");
}

/// Three rows of one key, of which the second and third are claimed while the first is on its way.
async fn ahead() -> (Bench, Arc<FakeBroker>) {
    let store = store(&[(Some("a"), "a1"), (Some("a"), "a2"), (Some("a"), "a3")]);
    let broker = Arc::new(FakeBroker::new(|text| if text == "a1" { Mood::Gate } else { Mood::Take }));
    let bench = start(&store, broker.clone(), RelaySettings { batch: 1, ..quick() });
    until("all are claimed", || store.states().iter().all(|state| matches!(state, State::Claimed(..)))).await;
    tokio::time::sleep(MS * 20).await;
    assert_eq!((broker.calls.load(SeqCst), broker.taken().len()), (1, 0), "what follows waits");
    (bench, broker)
}

#[tokio::test]
async fn what_is_claimed_ahead_follows_the_earlier_rows_of_its_key() {
    let (bench, broker) = ahead().await;
    broker.become_(|_| Mood::Take);
    broker.gate.add_permits(1);
    let store = bench.store.clone();
    until("everything is published", || store.all_published()).await;
    bench.stop().await;
    assert_eq!(broker.taken(), ["a1", "a2", "a3"]);
    assert_eq!(broker.calls.load(SeqCst), 2, "what waited travels together");
}

#[tokio::test]
async fn what_is_claimed_ahead_of_a_row_that_fails_is_handed_back() {
    let (bench, broker) = ahead().await;
    broker.become_(|text| if text == "a1" { Mood::Unavailable } else { Mood::Take });
    broker.gate.add_permits(1);
    let store = bench.store.clone();
    until("more attempts", || store.rows.lock().unwrap()[0].attempts >= 3).await;
    assert!(broker.taken().is_empty(), "nothing passes an earlier row of its key");
    broker.become_(|_| Mood::Take);
    until("everything is published", || store.all_published()).await;
    bench.stop().await;
    assert_eq!(broker.taken(), ["a1", "a2", "a3"]);
    let attempts: Vec<u32> = store.rows.lock().unwrap().iter().map(|row| row.attempts).collect();
    assert_eq!(attempts[1..], [1, 1], "they were not attempted meanwhile");
}

#[tokio::test]
async fn what_is_claimed_ahead_does_not_follow_a_relay_that_stops() {
    let (bench, broker) = ahead().await;
    bench.stop.cancel();
    tokio::time::sleep(MS * 20).await;
    broker.become_(|_| Mood::Take);
    broker.gate.add_permits(1);
    let store = bench.store.clone();
    bench.stop().await;
    assert_eq!(broker.taken(), ["a1"]);
    let due = State::Due(SystemTime::UNIX_EPOCH);
    assert_eq!(store.states(), [State::Published, due.clone(), due]);
}

#[tokio::test]
async fn a_commit_wakes_it() {
    let store = store(&[]);
    let broker = Arc::new(FakeBroker::new(|_| Mood::Take));
    let long = Duration::from_mins(1);
    let bench = start(&store, broker, RelaySettings { poll_first: long, poll_ceiling: long, ..quick() });
    until("the first claim", || store.claims.load(SeqCst) == 1).await;
    store.add("t", None, "1");
    bench.wake.notify_one();
    until("the row is published", || store.all_published()).await;
    store.add("t", None, "2");
    bench.wake.notify_waiters();
    until("the second row is published", || store.all_published()).await;
    bench.stop().await;
}

#[tokio::test]
async fn an_outage_is_waited_out_and_the_order_kept() {
    let store = store(&[(Some("a"), "a1"), (Some("a"), "a2"), (Some("b"), "b1"), (None, "x")]);
    let broker = Arc::new(FakeBroker::new(|_| Mood::Unavailable));
    let bench = start(&store, broker.clone(), quick());
    until("several attempts", || store.rows.lock().unwrap()[0].attempts >= 3).await;
    assert!(broker.taken().is_empty());
    broker.become_(|_| Mood::Take);
    until("everything is published", || store.all_published()).await;
    bench.stop().await;
    assert_eq!(of_key(&broker, "a"), ["a1", "a2"]);
    assert_eq!(broker.taken().len(), 4);
}

#[tokio::test]
async fn a_broker_that_is_down_is_not_hammered() {
    let store = Arc::new(FakeStore::default());
    (0..5000).for_each(|n| store.add("t", None, &n.to_string()));
    let broker = Arc::new(FakeBroker::new(|_| Mood::Unavailable));
    let bench = start(&store, broker.clone(), RelaySettings { retry: RelaySettings::default().retry, ..quick() });
    tokio::time::sleep(MS * 600).await;
    bench.stop().await;
    let calls = broker.calls.load(SeqCst);
    assert!(calls <= 900, "{calls} calls: what was in flight, then a few probes");
}

#[tokio::test]
async fn a_refused_row_is_dead_and_holds_its_key_only() {
    let store = store(&[(Some("a"), "a1"), (Some("a"), "a2"), (Some("b"), "b1"), (None, "x")]);
    let broker = Arc::new(FakeBroker::new(|text| if text == "a1" { Mood::Refuse } else { Mood::Take }));
    let bench = start(&store, broker.clone(), quick());
    let published = |at: usize| store.states()[at] == State::Published;
    until("the others are published", || published(2) && published(3) && store.states()[0] == State::Dead).await;
    tokio::time::sleep(MS * 50).await;
    bench.stop().await;
    assert!(matches!(store.states()[1], State::Due(_)));
    assert!(of_key(&broker, "a").is_empty());
}

#[tokio::test]
async fn a_row_over_the_limit_is_dead_at_once() {
    let store = store(&[(Some("a"), "a long text"), (Some("a"), "a2"), (None, "x")]);
    let broker = Arc::new(FakeBroker::new(|_| Mood::Take));
    let bench = start(&store, broker.clone(), RelaySettings { payload_limit: 5, ..quick() });
    until("it is dead", || store.states()[0] == State::Dead && store.states()[2] == State::Published).await;
    bench.stop().await;
    assert_eq!(broker.taken(), ["x"]);
}

#[tokio::test]
async fn a_slow_row_keeps_its_claim_and_holds_up_no_other() {
    let store = store(&[(Some("a"), "a1"), (Some("b"), "b1")]);
    let broker = Arc::new(FakeBroker::new(|text| if text == "a1" { Mood::Hang } else { Mood::Take }));
    let bench = start(&store, broker.clone(), quick());
    until("the other row is published", || store.states()[1] == State::Published).await;
    tokio::time::sleep(MS * 700).await;
    assert!(store.renewals.load(SeqCst) >= 3);
    assert_eq!(store.rows.lock().unwrap()[0].fence, 1, "more than two leases long, nobody else could claim it");
    bench.stop().await;
}

#[tokio::test]
async fn a_lost_claim_is_not_settled() {
    let store = store(&[(Some("a"), "a1")]);
    let broker = Arc::new(FakeBroker::new(|_| Mood::Hang));
    let bench = start(&store, broker.clone(), quick());
    until("the row is being published", || broker.calls.load(SeqCst) == 1).await;
    {
        let mut rows = store.rows.lock().unwrap();
        rows[0].fence += 1;
        rows[0].state = State::Claimed("another".into(), SystemTime::now() + Duration::from_mins(1));
    }
    until("the loss is noticed", || store.renewals.load(SeqCst) >= 1).await;
    tokio::time::sleep(MS * 20).await;
    bench.stop().await;
    assert!(matches!(&store.states()[0], State::Claimed(owner, _) if owner == "another"));
    assert_eq!(store.settles.load(SeqCst), 0);
}

#[tokio::test]
async fn settling_is_tried_again_and_nothing_is_published_twice() {
    let store = store(&[(Some("a"), "a1"), (Some("a"), "a2")]);
    store.settle_fails.store(4, SeqCst);
    let broker = Arc::new(FakeBroker::new(|_| Mood::Take));
    let bench = start(&store, broker.clone(), quick());
    until("everything is settled", || store.all_published()).await;
    bench.stop().await;
    assert_eq!(broker.taken(), ["a1", "a2"]);
}

#[tokio::test]
async fn a_driver_that_panics_is_an_attempt_that_failed() {
    let store = store(&[(Some("a"), "a1")]);
    let broker = Arc::new(FakeBroker::new(|_| Mood::Panic));
    let bench = start(&store, broker.clone(), quick());
    until("two attempts", || store.rows.lock().unwrap()[0].attempts >= 2).await;
    broker.become_(|_| Mood::Take);
    until("the row is published", || store.all_published()).await;
    bench.stop().await;
}

#[tokio::test]
async fn stopped_it_hands_back_what_the_broker_did_not_confirm_in_time() {
    let store = store(&[(Some("a"), "a1"), (Some("b"), "b1")]);
    let broker = Arc::new(FakeBroker::new(|text| if text == "a1" { Mood::Hang } else { Mood::Take }));
    let bench = start(&store, broker.clone(), quick());
    until("both are being published", || broker.calls.load(SeqCst) == 2).await;
    let claims = store.claims.load(SeqCst);
    let start = Instant::now();
    bench.stop().await;
    assert!(start.elapsed() < Duration::from_secs(2));
    assert_eq!(store.states(), [State::Due(SystemTime::UNIX_EPOCH), State::Published]);
    assert_eq!(store.rows.lock().unwrap()[0].attempts, 0, "as if it had not been attempted");
    assert!(store.claims.load(SeqCst) <= claims + 1, "it claims nothing while it stops");
}

#[tokio::test]
async fn stopped_it_waits_for_what_the_broker_confirms_in_time() {
    let store = store(&[(Some("a"), "a1")]);
    let broker = MemoryBroker::new();
    let subscription = Subscription { group: "g".into(), topics: vec!["t".into()], prefetch: 1 };
    let mut consumer = broker.subscribe(subscription).await.unwrap();
    let bench = start(&store, Arc::new(broker.clone()), RelaySettings { shutdown_timeout: MS * 5000, ..quick() });
    let held = consumer.receive(1).await.unwrap();
    bench.stop.cancel();
    tokio::time::sleep(MS * 20).await;
    consumer.settle(vec![(held[0].receipt, Settlement::Done)]).await.unwrap();
    bench.task.await.unwrap();
    assert!(bench.store.all_published());
}

#[tokio::test]
async fn a_broker_that_is_closed_meanwhile_ends_the_wait() {
    let store = store(&[(Some("a"), "a1")]);
    let broker = MemoryBroker::new();
    let subscription = Subscription { group: "g".into(), topics: vec!["t".into()], prefetch: 1 };
    let mut consumer = broker.subscribe(subscription).await.unwrap();
    let bench =
        start(&store, Arc::new(broker.clone()), RelaySettings { shutdown_timeout: Duration::from_mins(1), ..quick() });
    consumer.receive(1).await.unwrap();
    bench.stop.cancel();
    tokio::time::sleep(MS * 20).await;
    broker.close().await;
    bench.task.await.unwrap();
    assert_eq!(store.states(), [State::Due(SystemTime::UNIX_EPOCH)]);
    assert_eq!(store.rows.lock().unwrap()[0].attempts, 0);
}

#[tokio::test]
async fn what_was_confirmed_before_the_broker_closed_is_not_handed_back() {
    let store = store(&[(Some("a"), "a1"), (Some("a"), "a2"), (Some("a"), "a3")]);
    let broker = MemoryBroker::new();
    let subscription = Subscription { group: "g".into(), topics: vec!["t".into()], prefetch: 1 };
    let mut consumer = broker.subscribe(subscription).await.unwrap();
    let bench =
        start(&store, Arc::new(broker.clone()), RelaySettings { shutdown_timeout: Duration::from_mins(1), ..quick() });
    let held = consumer.receive(1).await.unwrap();
    bench.stop.cancel();
    tokio::time::sleep(MS * 20).await;
    consumer.settle(vec![(held[0].receipt, Settlement::Done)]).await.unwrap();
    broker.close().await;
    bench.task.await.unwrap();
    let back = State::Due(SystemTime::UNIX_EPOCH);
    assert_eq!(store.states(), [State::Published, back.clone(), back]);
    assert_eq!(store.rows.lock().unwrap().iter().map(|row| row.attempts).collect::<Vec<_>>(), [1, 0, 0]);
}

#[tokio::test]
async fn what_was_confirmed_is_not_handed_back_where_stopping_takes_too_long() {
    let store = store(&[(Some("a"), "a1"), (Some("a"), "a2")]);
    let broker = MemoryBroker::new();
    let subscription = Subscription { group: "g".into(), topics: vec!["t".into()], prefetch: 1 };
    let mut consumer = broker.subscribe(subscription).await.unwrap();
    let bench = start(&store, Arc::new(broker.clone()), quick());
    let held = consumer.receive(1).await.unwrap();
    consumer.settle(vec![(held[0].receipt, Settlement::Done)]).await.unwrap();
    consumer.receive(1).await.unwrap();
    bench.stop().await;
    assert_eq!(store.states(), [State::Published, State::Due(SystemTime::UNIX_EPOCH)]);
    assert_eq!(store.rows.lock().unwrap()[1].attempts, 0);
}

#[tokio::test]
async fn stopping_may_take_for_ever() {
    let store = store(&[(Some("a"), "a1")]);
    let broker = MemoryBroker::new();
    let subscription = Subscription { group: "g".into(), topics: vec!["t".into()], prefetch: 1 };
    let mut consumer = broker.subscribe(subscription).await.unwrap();
    let bench = start(&store, Arc::new(broker.clone()), RelaySettings { shutdown_timeout: Duration::MAX, ..quick() });
    let held = consumer.receive(1).await.unwrap();
    bench.stop.cancel();
    tokio::time::sleep(MS * 20).await;
    consumer.settle(vec![(held[0].receipt, Settlement::Done)]).await.unwrap();
    bench.task.await.unwrap();
    assert!(store.all_published());
}

#[tokio::test]
async fn idle_it_asks_the_store_rarely() {
    let store = store(&[]);
    *store.due_now.lock().unwrap() = Some(SystemTime::UNIX_EPOCH);
    let broker = Arc::new(FakeBroker::new(|_| Mood::Take));
    let bench = start(&store, broker, RelaySettings::default());
    tokio::time::sleep(MS * 1000).await;
    let before = store.queries.load(SeqCst);
    tokio::time::sleep(MS * 2000).await;
    let queries = store.queries.load(SeqCst) - before;
    bench.stop().await;
    assert!(queries <= 10, "{queries} queries in two seconds");
}

#[tokio::test]
async fn a_clock_that_is_moved_brings_retries_forward() {
    let store = store(&[(None, "x")]);
    let broker = Arc::new(FakeBroker::new(|_| Mood::Unavailable));
    let hour = Duration::from_hours(1);
    let retry = RetryPolicy { first: hour, ceiling: hour, ..quick().retry };
    let settings = RelaySettings { retry, poll_ceiling: Duration::from_mins(1), ..quick() };
    let bench = start(&store, broker.clone(), settings);
    until("the first attempt", || store.rows.lock().unwrap()[0].attempts == 1).await;
    broker.become_(|_| Mood::Take);
    tokio::time::sleep(MS * 20).await;
    bench.clock.advance(hour);
    until("the row is published", || store.all_published()).await;
    bench.stop().await;
}
