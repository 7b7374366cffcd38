//! A call that fails frees its key, whichever way it fails; what was committed stays done.

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;

use cqrs::{EventErrors, Sending};

use super::*;

#[tokio::test]
async fn a_failure_is_not_stored_and_frees_the_key_at_once() {
    bounded(async {
        let app = Harness::idle().await;
        for (what, kind) in [
            ("pay", DispatchErrorKind::Handler),
            ("pay panics", DispatchErrorKind::Panicked),
            ("audit", DispatchErrorKind::EventFailed),
        ] {
            app.probe.fail(what, 1);
            let error = app.send(pay(100)).idempotency_key("k").await.unwrap_err();
            assert_eq!(error.kind(), kind);
            assert_eq!((app.rows().await.len(), app.stored().await, keys(&app).await), (0, (0, 0), (0, 0)));
        }
        app.probe.fail("charge", 1);
        app.send(charge(1)).idempotency_key("k").await.unwrap_err();
        assert_eq!(app.send(charge(1)).idempotency_key("k").await.unwrap().run, 2);
        // Free for another payload, too.
        assert_eq!(app.send(pay(101)).idempotency_key("k").await.unwrap().run, 4);
    })
    .await;
}

#[tokio::test]
async fn a_timeout_frees_the_key_before_the_caller_is_told() {
    bounded(async {
        let app = Harness::idle().await;
        app.probe.close("pay");
        app.probe.close("charge");
        let soon = Duration::from_millis(200);
        let error = app.send(pay(100)).idempotency_key("k").timeout(soon).await.unwrap_err();
        assert!(matches!(error, DispatchError::Timeout { handler: "on_pay", .. }), "{error:?}");
        let error = app.send(charge(100)).idempotency_key("k").timeout(soon).await.unwrap_err();
        assert_eq!(error.kind(), DispatchErrorKind::Timeout);
        assert_eq!((app.rows().await.len(), app.stored().await, keys(&app).await), (0, (0, 0), (0, 0)));
        app.probe.open("pay");
        app.send(pay(100)).idempotency_key("k").timeout(DAY).await.unwrap();
        assert_eq!((app.rows().await.len(), keys(&app).await), (1, (0, 1)));
    })
    .await;
}

/// Keeps its thread for longer than its caller waits.
#[derive(Command, Clone, Serialize, Deserialize)]
#[command(name = "idempotency.block", response = usize)]
struct Block(Duration);

#[command_handler]
async fn on_block(cmd: Block, probe: Inject<Probe>) -> usize {
    probe.note("block");
    std::thread::sleep(cmd.0);
    probe.count("block")
}

#[tokio::test]
async fn what_ends_behind_its_deadline_is_late_and_frees_the_key() {
    bounded(async {
        let app = Harness::idle().await;
        let soon = Duration::from_millis(200);
        let error = app.send(Block(soon * 2)).idempotency_key("k").timeout(soon).await.unwrap_err();
        assert!(matches!(error, DispatchError::Timeout { handler: "on_block", .. }), "{error:?}");
        assert_eq!((app.probe.count("block"), keys(&app).await), (1, (0, 0)));
        let error = app.send(Block(Duration::ZERO)).idempotency_key("k").timeout(Duration::ZERO).await.unwrap_err();
        assert_eq!(error.kind(), DispatchErrorKind::Timeout);
        assert_eq!((app.probe.count("block"), keys(&app).await), (1, (0, 0)), "it does not begin");
        assert_eq!(app.send(Block(Duration::ZERO)).idempotency_key("k").timeout(DAY).await.unwrap(), 2);
        assert_eq!(keys(&app).await, (0, 1));
    })
    .await;
}

/// Polls a call so often, or to its end; gives its end.
async fn polled<F: Future + Unpin>(mut call: F, polls: u32) -> Option<F::Output> {
    let mut left = polls;
    std::future::poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        Pin::new(&mut call).poll(cx).map(Some)
    })
    .await
}

/// Dropped at every single poll, a call is done and its key says so, or neither. Gives whether it ended by itself.
async fn dropped_at<C>(app: &Harness, polls: u32, call: impl Fn() -> Sending<'static, C>) -> bool
where
    C: cqrs::Command<Response = Receipt, Error = BoxError>,
{
    let done_before = keys(app).await.1;
    let ended = polled(call(), polls).await;
    app.settle().await;
    let (held, done) = keys(app).await;
    assert_eq!((held, app.events::<PaidV1>().len() as i64), (0, done), "after {polls} polls");
    let receipt = call().await.unwrap_or_else(|error| panic!("after {polls} polls: {error:?}"));
    app.settle().await;
    assert_eq!(keys(app).await, (0, done_before + 1), "after {polls} polls");
    assert_eq!(app.events::<PaidV1>().len() as i64, done_before + 1, "after {polls} polls");
    ended.is_some_and(|ended| ended.unwrap() == receipt)
}

#[tokio::test]
async fn g3_a_call_dropped_at_any_poll_is_done_or_its_key_is_free() {
    bounded(async {
        let app = Harness::start().await;
        let mut polls = 0;
        while !dropped_at(&app, polls, || app.send(pay(100)).idempotency_key(format!("k{polls}"))).await {
            assert_eq!(app.rows().await.len() as i64, keys(&app).await.1);
            polls += 1;
        }
    })
    .await;
}

/// The same without a transaction of the handler's: one is begun for the response.
#[tokio::test]
async fn g3_a_call_without_transaction_dropped_at_any_poll_is_done_or_its_key_is_free() {
    bounded(async {
        let app = Harness::start().await;
        let mut polls = 0;
        while !dropped_at(&app, polls, || app.send(charge(100)).idempotency_key(format!("k{polls}"))).await {
            polls += 1;
        }
    })
    .await;
}

#[derive(Command, Serialize, Deserialize)]
#[command(name = "idempotency.dangle", error = BoxError)]
struct Dangle;

/// What it writes is refused only when it is committed.
#[command_handler]
async fn on_dangle(_cmd: Dangle, tx: &mut Tx<Sqlite>, probe: Inject<Probe>) -> Result<(), BoxError> {
    write(tx, "dangle").await?;
    let parent = "CREATE TABLE IF NOT EXISTS parents (id INTEGER PRIMARY KEY)";
    let child =
        "CREATE TABLE IF NOT EXISTS children (parent INTEGER REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED)";
    for statement in [parent, child] {
        sqlx::query(statement).execute(&mut **tx).await?;
    }
    if probe.try_it("dangle").is_err() {
        sqlx::query("INSERT INTO children VALUES (7)").execute(&mut **tx).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_commit_that_is_refused_frees_the_key_at_once() {
    bounded(async {
        let app = Harness::idle().await;
        app.probe.fail("dangle", 1);
        let error = app.send(Dangle).idempotency_key("k").await.unwrap_err();
        assert_eq!(error.kind(), DispatchErrorKind::Store, "{error:?}");
        assert_eq!((app.rows().await.len(), keys(&app).await), (0, (0, 0)));
        app.send(Dangle).idempotency_key("k").await.unwrap();
        app.send(Dangle).idempotency_key("k").await.unwrap();
        assert_eq!((app.rows().await.len(), keys(&app).await), (1, (0, 1)));
    })
    .await;
}

#[tokio::test]
async fn what_fails_after_the_commit_leaves_the_call_done() {
    bounded(async {
        let app = Harness::with(|builder| builder.run([""; 0]).event_errors(EventErrors::Fail)).await;
        app.probe.fail("after", 1);
        let error = app.send(pay(100)).idempotency_key("k").await.unwrap_err();
        assert_eq!(error.kind(), DispatchErrorKind::EventFailed);
        assert_eq!(keys(&app).await, (0, 1));
        assert_eq!(app.send(pay(100)).idempotency_key("k").await.unwrap().run, 1);
        assert_eq!(app.probe.log(), ["pay", "after"]);
    })
    .await;
}

#[tokio::test]
async fn a_payload_or_a_response_that_is_too_large_is_refused_and_nothing_is_committed() {
    bounded(async {
        let app = Harness::with(|builder| builder.run([""; 0]).payload_limit(1000)).await;
        let large = Pay { note: "x".repeat(1000), ..pay(100) };
        let error = app.send(large).idempotency_key("k").await.unwrap_err();
        let DispatchError::TooLarge { message: "idempotency.pay", size, limit: 1000 } = error else {
            panic!("{error:?}")
        };
        assert!(size > 1000 && app.probe.log().is_empty());

        let large = Charge { long: 1000, ..charge(100) };
        let error = app.send(large).idempotency_key("k").await.unwrap_err();
        let DispatchError::TooLarge { message, .. } = error else { panic!("{error:?}") };
        assert!(message.ends_with("Receipt"), "{message}");
        assert_eq!((app.stored().await, keys(&app).await, app.probe.count("charge")), ((0, 0), (0, 0), 1));
    })
    .await;
}

/// Its type has changed since: there is no second run.
#[tokio::test]
async fn a_stored_response_that_cannot_be_read_is_an_error_and_no_second_run() {
    bounded(async {
        let app = Harness::idle().await;
        app.send(pay(100)).idempotency_key("k").await.unwrap();
        sqlx::query("UPDATE cqrs_idempotent SET response = '{\"old\":1}'").execute(&app.probe.pool()).await.unwrap();
        for _ in 0..2 {
            let error = app.send(pay(100)).idempotency_key("k").await.unwrap_err();
            assert!(error.kind() == DispatchErrorKind::Store && !error.is_retryable(), "{error:?}");
            let text = error.to_string();
            assert!(text.contains("`idempotency.pay` with the idempotency key `k` was done"), "{text}");
            assert!(text.contains("Receipt`") && text.contains("missing field `run`"), "{text}");
        }
        assert_eq!((app.probe.count("pay"), keys(&app).await), (1, (0, 1)));
    })
    .await;
}

#[derive(Command, Serialize, Deserialize)]
#[command(name = "idempotency.moody", response = Moody)]
struct Ask(bool);

/// What panics when it is written, or when it is read.
struct Moody {
    writing: bool,
}

impl Serialize for Moody {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        assert!(!self.writing, "no mood for writing");
        self.writing.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Moody {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("no mood for reading")
    }
}

#[command_handler]
async fn on_ask(cmd: Ask, probe: Inject<Probe>) -> Moody {
    probe.note("ask");
    Moody { writing: cmd.0 }
}

#[tokio::test]
async fn g3_a_response_that_panics_fails_its_own_call() {
    bounded(async {
        let app = Harness::idle().await;
        let error = app.send(Ask(true)).idempotency_key("k").await.err().unwrap();
        assert!(error.to_string().contains("no mood for writing"), "{error}");
        assert_eq!(keys(&app).await, (0, 0));
        app.send(Ask(false)).idempotency_key("k").await.unwrap();
        let error = app.send(Ask(false)).idempotency_key("k").await.err().unwrap();
        assert!(error.to_string().contains("no mood for reading"), "{error}");
        assert_eq!((app.probe.count("ask"), keys(&app).await), (2, (0, 1)));
    })
    .await;
}
