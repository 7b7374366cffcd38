//! Idempotency keys: a call is done once and answered with one response, however often it is made.

mod failures;
mod nested;
mod races;
mod surrounded;

use std::collections::HashMap;
use std::time::Duration;

use cqrs::broker::MemoryBroker;
use cqrs::prelude::*;
use cqrs::sqlx::{self, Sqlite};
use cqrs::testing::TestApp;
use cqrs::{BoxError, DispatchErrorKind};
use serde::{Deserialize, Serialize};

use crate::support::{Harness, Log, Probe, Refused, bounded, with_middleware, write};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Handled in a transaction.
#[derive(Command, Clone, Serialize, Deserialize)]
#[command(name = "idempotency.pay", response = Receipt, error = BoxError)]
pub struct Pay {
    pub cents: u64,
    pub note: String,
}

/// Handled without one.
#[derive(Command, Clone, Default, Serialize, Deserialize)]
#[command(name = "idempotency.charge", response = Receipt, error = BoxError)]
struct Charge {
    cents: u64,
    details: HashMap<String, u32>,
    long: usize,
}

/// The number is that of the run: a second one would give another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    run: usize,
    text: String,
}

#[derive(DomainEvent)]
struct Paid;

#[derive(NotificationEvent, Serialize, Deserialize)]
#[event(name = "idempotency.paid")]
struct PaidV1;

pub fn pay(cents: u64) -> Pay {
    Pay { cents, note: String::new() }
}

fn charge(cents: u64) -> Charge {
    Charge { cents, ..Charge::default() }
}

#[command_handler]
async fn on_pay(cmd: Pay, tx: &mut Tx<Sqlite>, events: &mut Events, probe: Inject<Probe>) -> Result<Receipt, BoxError> {
    probe.note("pay");
    write(tx, format!("pay {}", cmd.cents)).await?;
    events.raise(Paid);
    events.raise(PaidV1);
    probe.pass("pay").await;
    probe.try_it("pay")?;
    assert!(probe.try_it("pay panics").is_ok(), "pay panics");
    Ok(Receipt { run: probe.count("pay"), text: format!("{} cents", cmd.cents) })
}

/// Says when it is dropped before its end.
struct Unfinished<'p>(Option<&'p Probe>);

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(probe) = self.0 {
            probe.note("charge dropped");
        }
    }
}

#[command_handler]
async fn on_charge(cmd: Charge, events: &mut Events, probe: Inject<Probe>) -> Result<Receipt, BoxError> {
    probe.note("charge");
    let mut unfinished = Unfinished(Some(&probe));
    events.raise(PaidV1);
    probe.pass("charge").await;
    unfinished.0 = None;
    probe.try_it("charge")?;
    Ok(Receipt { run: probe.count("charge"), text: "x".repeat(cmd.long) })
}

#[event_handler(inline)]
async fn audit(_e: &Paid, probe: Inject<Probe>) -> Result<(), Refused> {
    probe.try_it("audit")
}

#[event_handler]
async fn after_paid(_e: &Paid, probe: Inject<Probe>) -> Result<(), Refused> {
    probe.note("after");
    probe.try_it("after")
}

/// The keys that are in the store: of calls that run, and of calls that are done.
async fn keys(app: &Harness) -> (i64, i64) {
    let counts = "SELECT COUNT(*) FILTER (WHERE done_at IS NULL), COUNT(done_at) FROM cqrs_idempotent";
    sqlx::query_as(counts).fetch_one(&app.probe.pool()).await.unwrap()
}

#[tokio::test]
async fn a_call_is_done_once_and_answered_with_the_same_response() {
    bounded(async {
        let app = Harness::idle().await;
        let first = app.send(pay(100)).idempotency_key("k").await.unwrap();
        assert_eq!(first, Receipt { run: 1, text: "100 cents".to_owned() });
        for _ in 0..3 {
            assert_eq!(app.send(pay(100)).idempotency_key("k").await.unwrap(), first);
        }
        assert_eq!((app.rows().await, app.stored().await), (vec!["pay 100".to_owned()], (1, 0)));
        assert_eq!(app.probe.log(), ["pay", "after"], "no event is raised again");
        assert_eq!(keys(&app).await, (0, 1));
        assert_eq!(app.send(pay(100)).await.unwrap().run, 2, "without a key it is another call");
    })
    .await;
}

#[tokio::test]
async fn a_handler_without_a_transaction_is_done_once_too() {
    bounded(async {
        let app = Harness::idle().await;
        let first = app.send(charge(100)).idempotency_key("k").await.unwrap();
        assert_eq!(app.send(charge(100)).idempotency_key("k").timeout(DAY).await.unwrap(), first);
        assert_eq!((app.probe.count("charge"), app.stored().await, keys(&app).await), (1, (1, 0), (0, 1)));
    })
    .await;
}

#[tokio::test]
async fn a_key_with_another_payload_is_refused() {
    bounded(async {
        let app = Harness::idle().await;
        app.send(pay(100)).idempotency_key("k").await.unwrap();
        let error = app.send(pay(101)).idempotency_key("k").await.unwrap_err();
        assert!(matches!(&error, DispatchError::KeyReused { key } if key == "k"), "{error:?}");
        assert!(!error.is_retryable());
        assert_eq!((app.rows().await.len(), keys(&app).await), (1, (0, 1)));

        // Also while the other one runs.
        app.probe.close("charge");
        let running = app.send(charge(1)).idempotency_key("k");
        let meanwhile = async {
            app.probe.arrived("charge").await;
            let error = app.send(charge(2)).idempotency_key("k").await.unwrap_err();
            assert_eq!(error.kind(), DispatchErrorKind::KeyReused);
            app.probe.open("charge");
        };
        tokio::join!(running, meanwhile).0.unwrap();
    })
    .await;
}

#[tokio::test]
async fn the_order_in_which_fields_are_written_makes_no_other_payload() {
    bounded(async {
        let app = Harness::idle().await;
        let mut orders = std::collections::HashSet::new();
        for _ in 0..20 {
            let details: HashMap<_, _> = (0..20).map(|number| (format!("d{number}"), number)).collect();
            let command = Charge { details, ..Charge::default() };
            orders.insert(serde_json::to_string(&command).unwrap());
            assert_eq!(app.send(command).idempotency_key("k").await.unwrap().run, 1);
        }
        assert!(orders.len() > 1, "it was always the same order");
    })
    .await;
}

#[tokio::test]
async fn another_message_with_the_same_key_is_another_call() {
    bounded(async {
        let app = Harness::idle().await;
        app.send(pay(100)).idempotency_key("k").await.unwrap();
        app.send(charge(100)).idempotency_key("k").await.unwrap();
        app.send(pay(100)).idempotency_key("K").await.unwrap();
        assert_eq!((app.probe.count("pay"), app.probe.count("charge"), keys(&app).await), (2, 1, (0, 3)));
    })
    .await;
}

#[tokio::test]
async fn the_keys_of_two_callers_are_two_keys() {
    bounded(async {
        let app = Harness::idle().await;
        let call = |caller: &str, cents| app.send(pay(cents)).key_scope(caller).idempotency_key("k");
        assert_eq!((call("a", 100).await.unwrap().run, call("b", 200).await.unwrap().run), (1, 2));
        assert_eq!((call("a", 100).await.unwrap().run, call("b", 200).await.unwrap().run), (1, 2));
        assert_eq!(app.send(pay(300)).idempotency_key("k").await.unwrap().run, 3, "nobody's in particular");
        let error = call("a", 200).await.unwrap_err();
        assert!(matches!(&error, DispatchError::KeyReused { key } if key == "k"), "{error:?}");
        let mut unit = app.unit::<Sqlite>().await.unwrap();
        assert_eq!(call("b", 200).within(unit.tx()).await.unwrap().run, 2);
        unit.commit().await.unwrap();
        // Whatever a caller is known by, a key has its whole length.
        let (long, key) = ("x\n".repeat(1000), "k".repeat(255));
        assert_eq!(app.send(pay(400)).idempotency_key(key).key_scope(long).await.unwrap().run, 4);
        assert_eq!(keys(&app).await, (0, 4));
    })
    .await;
}

/// On SQLite the call that runs holds the only write lock: the others are answered all the same.
#[tokio::test]
async fn a_key_whose_call_is_running_is_in_progress_at_once() {
    bounded(async {
        let app = Harness::idle().await;
        app.probe.close("pay");
        let running = app.send(pay(100)).idempotency_key("k");
        let meanwhile = async {
            app.probe.arrived("pay").await;
            let error = app.send(pay(100)).idempotency_key("k").await.unwrap_err();
            assert!(matches!(&error, DispatchError::InProgress { key } if key == "k"), "{error:?}");
            assert!(error.is_retryable());
            app.probe.open("pay");
        };
        let (first, ()) = tokio::join!(running, meanwhile);
        assert_eq!(app.send(pay(100)).idempotency_key("k").await.unwrap(), first.unwrap());
        assert_eq!(app.probe.count("pay"), 1);
    })
    .await;
}

#[tokio::test]
async fn a_response_is_kept_for_a_day_or_as_long_as_the_app_says() {
    bounded(async {
        let app = Harness::idle().await;
        app.send(pay(100)).idempotency_key("k").await.unwrap();
        app.advance(DAY - Duration::from_secs(60)).await;
        assert_eq!(app.send(pay(100)).idempotency_key("k").await.unwrap().run, 1);
        app.advance(Duration::from_secs(120)).await;
        assert_eq!(app.send(pay(101)).idempotency_key("k").await.unwrap().run, 2, "it is free for whatever comes");
        assert_eq!(app.send(pay(101)).idempotency_key("k").await.unwrap().run, 2);

        let app = Harness::with(|builder| builder.run([""; 0]).idempotency_retention(2 * DAY)).await;
        app.send(pay(100)).idempotency_key("k").await.unwrap();
        app.advance(DAY + DAY / 2).await;
        assert_eq!(app.send(pay(100)).idempotency_key("k").await.unwrap().run, 1);
        app.advance(DAY).await;
        assert_eq!(app.send(pay(100)).idempotency_key("k").await.unwrap().run, 2);
    })
    .await;
}

/// Middleware is around every call, whoever answers it.
#[tokio::test]
async fn middleware_runs_around_a_stored_response_too() {
    bounded(async {
        let probe = std::sync::Arc::new(Probe::default());
        let app = TestApp::new(with_middleware(&probe)).await.unwrap();
        let first = app.send(charge(100)).idempotency_key("k").await.unwrap();
        assert_eq!(app.send(charge(100)).idempotency_key("k").await.unwrap(), first);
        assert_eq!(
            (probe.count("> inner command idempotency.charge"), probe.count("< inner"), probe.count("charge")),
            (2, 2, 1)
        );
        // What it turns down after the commit was done; the next one finds it.
        probe.fail("turn down", 1);
        let error = app.send(charge(200)).idempotency_key("m").await.unwrap_err();
        assert_eq!(error.kind(), DispatchErrorKind::Rejected);
        assert_eq!(app.send(charge(200)).idempotency_key("m").await.unwrap().run, 2);
        assert_eq!(probe.count("charge"), 2);
    })
    .await;
}

#[derive(Command, Serialize, Deserialize)]
struct Wrapped<T: Send + Sync + 'static>(T);

#[command_handler]
async fn on_wrapped(_cmd: Wrapped<u8>) {}

mod one {
    #[derive(cqrs::Command, serde::Serialize, serde::Deserialize)]
    #[command(name = "idempotency.twin")]
    pub struct Twin;

    #[cqrs::command_handler]
    async fn twin(_cmd: Twin) {}
}

mod two {
    #[derive(cqrs::Command, serde::Serialize, serde::Deserialize)]
    #[command(name = "idempotency.twin")]
    pub struct Twin;

    #[cqrs::command_handler]
    async fn twin(_cmd: Twin) {}
}

#[tokio::test]
async fn a_command_without_a_stored_name_of_its_own_is_refused() {
    bounded(async {
        let app = Harness::idle().await;
        let error = app.send(one::Twin).idempotency_key("k").await.unwrap_err();
        assert_eq!(error.kind(), DispatchErrorKind::AmbiguousName);
        let text = error.to_string();
        assert!(text.contains("one::Twin") && text.contains("two::Twin") && text.contains("name = "), "{text}");
        let error = app.send(Wrapped(7_u8)).idempotency_key("k").await.unwrap_err();
        assert_eq!(error.kind(), DispatchErrorKind::Store);
        let text = error.to_string();
        assert!(text.contains("Wrapped<u8>` cannot be stored") && text.contains("newtype"), "{text}");
        assert_eq!(keys(&app).await, (0, 0));
    })
    .await;
}

#[tokio::test]
async fn a_key_that_is_none_is_refused() {
    bounded(async {
        let app = Harness::idle().await;
        for (key, reason) in [
            (String::new(), "is empty"),
            ("k".repeat(256), "is longer than 255 bytes"),
            ("ä".repeat(128), "is longer than 255 bytes"),
            ("a\nb".to_owned(), "has a control character"),
            ("a\0".to_owned(), "has a control character"),
        ] {
            let error = app.send(pay(100)).idempotency_key(key).await.unwrap_err();
            assert!(matches!(error, DispatchError::InvalidKey { .. }) && !error.is_retryable(), "{error:?}");
            assert_eq!(error.kind(), DispatchErrorKind::InvalidKey);
            let text = error.to_string();
            assert!(text.contains(reason) && text.contains("1 to 255 bytes"), "{text}");
        }
        for key in ["k".repeat(255), "ä".repeat(127), " ".to_owned(), "9f2c-✓".to_owned()] {
            app.send(pay(100)).idempotency_key(key).await.unwrap();
        }
        assert_eq!(app.probe.count("pay"), 4);
    })
    .await;
}

#[tokio::test]
async fn a_stored_response_is_seen_in_the_log() {
    bounded(async {
        let app = Harness::idle().await;
        let (log, _until_dropped) = Log::of_everything();
        // Once before: where another thread comes to a place first, `tracing` asks for its interest, and remembers it.
        for _ in 0..2 {
            app.send(pay(100)).idempotency_key("before").await.unwrap();
        }
        tracing::callsite::rebuild_interest_cache();
        let seen = log.text().len();
        let replays = || log.text()[seen..].matches("replayed=true").count();
        app.send(pay(100)).idempotency_key("k").await.unwrap();
        assert_eq!(replays(), 0);
        app.send(pay(100)).idempotency_key("k").await.unwrap();
        assert_eq!(replays(), 1);
    })
    .await;
}

/// Wherever anything runs: where nobody works on what is stored, keys are left all the same.
#[tokio::test]
async fn g13_keys_past_their_retention_are_swept() {
    bounded(async {
        for parts in [&["relay", "work"][..], &["relay"], &["timers"], &["group:leases"]] {
            let broker = Broker::driver(MemoryBroker::new());
            let app = Harness::with(|builder| builder.run(parts.iter().copied()).broker(broker)).await;
            app.send(pay(100)).idempotency_key("k").await.unwrap();
            app.advance(DAY + Duration::from_secs(11 * 60)).await;
            while keys(&app).await != (0, 0) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_process_that_runs_nothing_sweeps_no_keys() {
    bounded(async {
        let app = Harness::idle().await;
        app.send(pay(100)).idempotency_key("k").await.unwrap();
        app.advance(DAY + Duration::from_secs(11 * 60)).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(keys(&app).await, (0, 1));
    })
    .await;
}
