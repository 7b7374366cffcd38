//! G5: sending from a handler: refused at once where it would wait for its own caller, `within` its transaction, or apart.

use std::task::Poll;

use cqrs::prelude::*;
use cqrs::sqlx::Sqlite;
use cqrs::{BoxError, DispatchErrorKind};
use serde::{Deserialize, Serialize};

use crate::support::{Harness, Probe, Refused, bounded, polled, write};

/// What the outer handler does with the inner command.
#[derive(Clone, Copy, PartialEq)]
enum How {
    Apart,
    Within,
    /// Twice within: the first fails, the second does not.
    WithinTwice,
    /// Dropped in the middle.
    WithinDropped,
    /// Dropped while its savepoint begins, then made again.
    WithinBeginning,
    /// Dropped after so many polls; then a savepoint of the handler's own is dropped.
    WithinPolled(u32),
    /// With a timeout that runs out.
    WithinTimeout,
    /// Made, and never polled.
    WithinUnpolled,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Inner {
    /// Takes `&mut Tx`.
    Tx,
    /// Takes `&mut Begin`.
    Begin,
    /// Raises something that is stored.
    Flush,
    /// Neither stores nor writes.
    Nothing,
    /// Calls another within its own transaction, then fails.
    Nested,
    /// Panics after it wrote.
    Panic,
    /// Succeeds, and its inline handler does not.
    Inline,
    /// Raises more than can be stored.
    TooLarge,
}

#[derive(Command)]
#[command(error = BoxError)]
pub struct InnerTx {
    pub fails: bool,
}

#[derive(DomainEvent)]
struct InnerDone(&'static str);

#[derive(NotificationEvent, Serialize, Deserialize)]
struct InnerPublished;

#[command_handler]
async fn inner_tx(
    cmd: InnerTx,
    tx: &mut Tx<Sqlite>,
    events: &mut Events,
    probe: Inject<Probe>,
) -> Result<(), BoxError> {
    write(tx, "inner").await?;
    events.raise(InnerDone("tx"));
    events.raise(InnerPublished);
    probe.pass("inner").await;
    if cmd.fails { Err(Refused("inner".to_owned()).into()) } else { Ok(()) }
}

#[derive(Command)]
#[command(error = BoxError)]
struct InnerBegin;

#[command_handler]
async fn inner_begin(_cmd: InnerBegin, begin: &mut Begin<Sqlite>, events: &mut Events) -> Result<(), BoxError> {
    let tx = begin.begin().await?;
    write(tx, "inner").await?;
    events.raise(InnerDone("begin"));
    Ok(())
}

#[derive(Command)]
#[command(error = BoxError)]
struct InnerFlush;

#[command_handler]
async fn inner_flush(_cmd: InnerFlush, events: &mut Events) {
    events.raise(InnerPublished);
    events.raise(InnerDone("flush"));
}

#[derive(Command)]
#[command(error = BoxError)]
struct InnerNothing;

#[command_handler]
async fn inner_nothing(_cmd: InnerNothing, events: &mut Events) {
    events.raise(InnerDone("nothing"));
}

#[derive(Command)]
#[command(error = BoxError)]
struct InnerNested {
    fails: bool,
}

#[command_handler]
async fn inner_nested(
    cmd: InnerNested,
    tx: &mut Tx<Sqlite>,
    app: &App,
    events: &mut Events,
    probe: Inject<Probe>,
) -> Result<(), BoxError> {
    events.raise(InnerDone("nested"));
    app.send(InnerTx { fails: false }).within(tx).await?;
    probe.pass("nested").await;
    if cmd.fails { Err(Refused("nested".to_owned()).into()) } else { Ok(()) }
}

#[derive(Command)]
#[command(error = BoxError)]
struct InnerBad(&'static str);

#[derive(NotificationEvent, Serialize, Deserialize)]
struct InnerBig(String);

#[command_handler]
async fn inner_bad(cmd: InnerBad, begin: &mut Begin<Sqlite>, events: &mut Events) -> Result<(), BoxError> {
    write(begin.begin().await?, "bad").await?;
    events.raise(InnerDone("bad"));
    events.raise(InnerPublished);
    match cmd.0 {
        "panic" => panic!("inner panic"),
        "inline" => events.raise(crate::events::Reserving { number: 13 }),
        _ => events.raise(InnerBig("x".repeat(2 << 20))),
    }
    Ok(())
}

#[event_handler]
async fn inner_done(e: &InnerDone, probe: Inject<Probe>) {
    probe.note(format!("done {} after {} rows", e.0, probe.rows().await.len()));
}

#[derive(Command)]
#[command(response = Result<(), String>, error = BoxError)]
struct Outer {
    how: How,
    inner: Inner,
    fails: bool,
    inner_fails: bool,
}

#[derive(DomainEvent)]
struct OuterDone;

#[event_handler]
async fn outer_done(_e: &OuterDone, probe: Inject<Probe>) {
    probe.note("outer done");
}

fn text<T, E: std::fmt::Display>(result: Result<T, DispatchError<E>>) -> Result<(), String> {
    result.map(drop).map_err(|error| format!("{:?}: {error}", error.kind()))
}

async fn call(app: &App, inner: Inner, fails: bool, within: Option<&mut Tx<Sqlite>>) -> Result<(), String> {
    macro_rules! send {
        ($command:expr) => {
            match within {
                Some(tx) => text(app.send($command).within(tx).await),
                None => text(app.send($command).await),
            }
        };
    }
    match inner {
        Inner::Tx => send!(InnerTx { fails }),
        Inner::Begin => send!(InnerBegin),
        Inner::Flush => send!(InnerFlush),
        Inner::Nothing => send!(InnerNothing),
        Inner::Nested => send!(InnerNested { fails }),
        Inner::Panic => send!(InnerBad("panic")),
        Inner::Inline => send!(InnerBad("inline")),
        Inner::TooLarge => send!(InnerBad("too large")),
    }
}

#[command_handler]
async fn outer(
    cmd: Outer,
    tx: &mut Tx<Sqlite>,
    events: &mut Events,
    app: &App,
    probe: Inject<Probe>,
) -> Result<Result<(), String>, BoxError> {
    write(tx, "before").await?;
    events.raise(OuterDone);
    let said = match cmd.how {
        How::Apart => call(app, cmd.inner, cmd.inner_fails, None).await,
        How::Within => call(app, cmd.inner, cmd.inner_fails, Some(tx)).await,
        How::WithinTwice => {
            let first = call(app, cmd.inner, true, Some(&mut *tx)).await;
            call(app, cmd.inner, false, Some(tx)).await?;
            first
        }
        How::WithinDropped => {
            let place = if cmd.inner == Inner::Nested { "nested" } else { "inner" };
            tokio::select! {
                biased;
                said = call(app, cmd.inner, false, Some(&mut *tx)) => said,
                () = probe.arrived(place) => Err("dropped".to_owned()),
            }
        }
        How::WithinBeginning => {
            keep_busy(tx).await;
            poll_once(call(app, cmd.inner, false, Some(&mut *tx))).await;
            write(tx, "between").await?;
            call(app, cmd.inner, cmd.inner_fails, Some(tx)).await
        }
        How::WithinPolled(polls) => {
            let said = polled(polls, call(app, cmd.inner, false, Some(&mut *tx))).await;
            let mut savepoint = tx.savepoint().await?;
            cqrs::sqlx::query("INSERT INTO notes (text) VALUES ('undone')").execute(&mut *savepoint).await?;
            drop(savepoint);
            said.unwrap_or_else(|| Err("dropped".to_owned()))
        }
        How::WithinTimeout => {
            let call = app.send(InnerTx { fails: false }).timeout(std::time::Duration::from_millis(50));
            text(call.within(tx).await)
        }
        How::WithinUnpolled => {
            drop(app.send(InnerTx { fails: false }).within(tx));
            Ok(())
        }
    };
    write(tx, "after").await?;
    if cmd.fails { Err(Refused("outer".to_owned()).into()) } else { Ok(said) }
}

/// Has the connection do something that takes a while. Dropping the future does not stop the statement: what is asked for
/// next waits for it.
async fn keep_busy(tx: &mut Tx<Sqlite>) {
    let long =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) SELECT COUNT(*) FROM n";
    poll_once(cqrs::sqlx::query(long).execute(&mut **tx)).await;
}

/// Drops a future while what it waits for is going on.
async fn poll_once<F: Future>(future: F) {
    let mut future = std::pin::pin!(future);
    let ended = std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_ready())).await;
    assert!(!ended, "it had to wait");
}

fn outer_of(how: How, inner: Inner) -> Outer {
    Outer { how, inner, fails: false, inner_fails: false }
}

#[tokio::test]
async fn g5_a_separate_unit_that_needs_a_transaction_is_refused_at_once() {
    bounded(async {
        let app = Harness::idle().await;
        for inner in [Inner::Tx, Inner::Flush] {
            let said = app.send(outer_of(How::Apart, inner)).await.unwrap().unwrap_err();
            assert!(said.starts_with("WouldDeadlock: "), "{inner:?}: {said}");
            assert!(said.contains("within(tx)") && said.contains("events.send"), "{said}");
        }
        // `Begin` hands the refusal to its handler, as a `StoreError`.
        let said = app.send(outer_of(How::Apart, Inner::Begin)).await.unwrap().unwrap_err();
        assert!(
            said.starts_with("Handler: ") && said.contains("would wait for the one its own caller holds"),
            "{said}"
        );
        assert_eq!(app.rows().await, ["before", "after"].repeat(3));
        assert_eq!(app.stored().await, (0, 0));
    })
    .await;
}

#[derive(Command)]
#[command(response = Vec<String>, error = BoxError)]
struct OuterBegin;

#[command_handler]
async fn outer_begin(_cmd: OuterBegin, begin: &mut Begin<Sqlite>, app: &App) -> Result<Vec<String>, BoxError> {
    let mut said = vec![format!("{:?}", call(app, Inner::Tx, false, None).await)];
    let tx = begin.begin().await?;
    write(tx, "outer begin").await?;
    for inner in [Inner::Tx, Inner::Flush, Inner::Begin, Inner::Nothing] {
        said.push(match call(app, inner, false, None).await {
            Ok(()) => "fine".to_owned(),
            Err(error) => error.split(':').next().unwrap_or_default().to_owned(),
        });
    }
    said.push(format!("{:?}", call(app, Inner::Begin, false, Some(begin.begin().await?)).await));
    Ok(said)
}

#[tokio::test]
async fn g5_begin_refuses_others_only_after_it_has_begun() {
    bounded(async {
        let app = Harness::idle().await;
        let said = app.send(OuterBegin).await.unwrap();
        assert_eq!(said, ["Ok(())", "WouldDeadlock", "WouldDeadlock", "Handler", "fine", "Ok(())"]);
        assert_eq!(app.rows().await, ["inner", "outer begin", "inner"]);
    })
    .await;
}

#[derive(Command)]
#[command(response = Vec<bool>, error = BoxError)]
struct OuterOther;

/// Publishing and scheduling are units of their own as well.
#[command_handler]
async fn outer_other(_cmd: OuterOther, _tx: &mut Tx<Sqlite>, app: &App) -> Vec<bool> {
    let refused = |result: Result<(), cqrs::Error>| {
        matches!(result, Err(cqrs::Error::Dispatch { kind: DispatchErrorKind::WouldDeadlock, .. }))
    };
    vec![
        refused(app.publish(InnerPublished).await),
        refused(app.schedule(Sent).await.map(drop)),
        refused(app.publish(InnerDone("published")).await),
    ]
}

#[tokio::test]
async fn g5_publish_and_schedule_from_a_handler_with_a_transaction_are_refused_too() {
    bounded(async {
        let app = Harness::idle().await;
        assert_eq!(app.send(OuterOther).await.unwrap(), [true, true, false]);
    })
    .await;
}

#[tokio::test]
async fn g5_a_separate_unit_without_a_transaction_is_fine() {
    bounded(async {
        let app = Harness::idle().await;
        app.send(outer_of(How::Apart, Inner::Nothing)).await.unwrap().unwrap();
        assert_eq!(app.rows().await, ["before", "after"]);
        assert_eq!(app.probe.log(), ["done nothing after 0 rows", "outer done"]);
    })
    .await;
}

#[derive(Command)]
#[command(error = BoxError)]
struct OuterPlain;

#[command_handler]
async fn outer_plain(_cmd: OuterPlain, app: &App, events: &mut Events) -> Result<(), BoxError> {
    app.send(InnerTx { fails: false }).await?;
    tokio::try_join!(app.send(InnerBegin), app.send(InnerTx { fails: false }))?;
    events.raise(OuterDone);
    Ok(())
}

#[tokio::test]
async fn g5_a_handler_without_a_transaction_sends_as_it_likes() {
    bounded(async {
        let app = Harness::idle().await;
        app.send(OuterPlain).await.unwrap();
        assert_eq!(app.rows().await, ["inner"; 3]);
        assert_eq!(app.probe.log().last().unwrap(), "outer done");
    })
    .await;
}

#[tokio::test]
async fn g5_within_joins_the_outer_commit_and_its_events_run_after_it() {
    bounded(async {
        for inner in [Inner::Tx, Inner::Begin] {
            let app = Harness::idle().await;
            app.send(outer_of(How::Within, inner)).await.unwrap().unwrap();
            assert_eq!(app.rows().await, ["before", "inner", "after"]);
            let kind = if inner == Inner::Tx { "tx" } else { "begin" };
            assert_eq!(app.probe.log(), ["outer done".to_owned(), format!("done {kind} after 3 rows")]);
            assert_eq!(app.stored().await.0, u64::from(inner == Inner::Tx));
            assert_eq!(app.events::<InnerDone>().len(), 1);
        }
        let app = Harness::idle().await;
        app.send(outer_of(How::Within, Inner::Flush)).await.unwrap().unwrap();
        assert_eq!((app.rows().await.len(), app.stored().await), (2, (1, 0)));
    })
    .await;
}

#[tokio::test]
async fn g5_within_an_inner_failure_undoes_only_itself() {
    bounded(async {
        let app = Harness::idle().await;
        let said = app.send(Outer { inner_fails: true, ..outer_of(How::Within, Inner::Tx) }).await.unwrap();
        assert_eq!(said.unwrap_err(), "Handler: refused: inner");
        assert_eq!(app.rows().await, ["before", "after"]);
        assert_eq!((app.stored().await, app.probe.log()), ((0, 0), vec!["outer done".to_owned()]));

        let app = Harness::idle().await;
        app.send(outer_of(How::WithinTwice, Inner::Tx)).await.unwrap().unwrap_err();
        assert_eq!(app.rows().await, ["before", "inner", "after"]);
        assert_eq!(app.stored().await, (1, 0));
    })
    .await;
}

/// However the inner call fails: the transaction comes back without what it did.
#[tokio::test]
async fn g3_g5_within_panics_inline_failures_and_what_is_too_large_undo_only_themselves() {
    bounded(async {
        for (inner, kind) in [(Inner::Panic, "Panicked"), (Inner::Inline, "EventFailed"), (Inner::TooLarge, "TooLarge")]
        {
            let app = Harness::idle().await;
            let said = app.send(outer_of(How::Within, inner)).await.unwrap().unwrap_err();
            assert!(said.starts_with(kind), "{said}");
            assert_eq!((app.rows().await, app.stored().await), (vec!["before".to_owned(), "after".into()], (0, 0)));
            assert_eq!(app.probe.log(), ["outer done"]);
        }
    })
    .await;
}

/// Middleware is around the inner call as well.
#[tokio::test]
async fn g5_within_through_middleware() {
    bounded(async {
        let probe = std::sync::Arc::new(Probe::default());
        let builder = crate::support::with_middleware(&probe).retain_middlewares(|name| name == "inner_most");
        let app = cqrs::testing::TestApp::new(builder.run([""; 0])).await.unwrap();
        let app = Harness { app, probe };
        app.send(outer_of(How::Within, Inner::Tx)).await.unwrap().unwrap();
        app.send(Outer { inner_fails: true, ..outer_of(How::Within, Inner::Tx) }).await.unwrap().unwrap_err();
        assert_eq!(app.rows().await, ["before", "inner", "after", "before", "after"]);
        assert_eq!(app.probe.count("> inner command InnerTx"), 2);
        app.send(outer_of(How::Apart, Inner::Tx)).await.unwrap().unwrap_err();
    })
    .await;
}

#[tokio::test]
async fn g5_within_an_outer_failure_undoes_everything() {
    bounded(async {
        let app = Harness::idle().await;
        app.send(Outer { fails: true, ..outer_of(How::Within, Inner::Tx) }).await.unwrap_err();
        assert!(app.rows().await.is_empty() && app.stored().await == (0, 0) && app.probe.log().is_empty());
    })
    .await;
}

#[tokio::test]
async fn g5_within_within_and_what_a_failed_middle_leaves() {
    bounded(async {
        let app = Harness::idle().await;
        app.send(outer_of(How::Within, Inner::Nested)).await.unwrap().unwrap();
        assert_eq!(app.rows().await, ["before", "inner", "after"]);
        let mut log = app.probe.log();
        log.sort();
        assert_eq!(log, ["done nested after 3 rows", "done tx after 3 rows", "outer done"]);

        // The innermost succeeded, but what it belongs to was undone: so are its events.
        let app = Harness::idle().await;
        app.send(Outer { inner_fails: true, ..outer_of(How::Within, Inner::Nested) }).await.unwrap().unwrap_err();
        assert_eq!(app.rows().await, ["before", "after"]);
        assert_eq!((app.stored().await, app.probe.log()), ((0, 0), vec!["outer done".to_owned()]));
    })
    .await;
}

#[tokio::test]
async fn g5_within_a_dropped_inner_call_hands_the_transaction_back() {
    bounded(async {
        let app = Harness::idle().await;
        app.probe.close("inner");
        let said = app.send(outer_of(How::WithinDropped, Inner::Tx)).await.unwrap();
        assert_eq!(said.unwrap_err(), "dropped");
        assert_eq!(app.rows().await, ["before", "after"]);
        assert_eq!((app.stored().await, app.probe.log()), ((0, 0), vec!["outer done".to_owned()]));

        let said = app.send(outer_of(How::WithinTimeout, Inner::Tx)).await.unwrap();
        assert!(said.unwrap_err().starts_with("Timeout"));
        app.send(outer_of(How::WithinUnpolled, Inner::Tx)).await.unwrap().unwrap();
        assert_eq!(app.rows().await, ["before", "after"].repeat(3));

        // A middle call that is dropped, with an innermost one that has ended.
        let app = Harness::idle().await;
        app.probe.close("nested");
        app.send(outer_of(How::WithinDropped, Inner::Nested)).await.unwrap().unwrap_err();
        assert_eq!(app.rows().await, ["before", "after"]);
        assert_eq!((app.stored().await, app.probe.log()), ((0, 0), vec!["outer done".to_owned()]));
    })
    .await;
}

#[tokio::test]
async fn g3_g5_within_a_call_dropped_while_its_savepoint_begins_leaves_the_transaction_usable() {
    bounded(async {
        let beginning = || outer_of(How::WithinBeginning, Inner::Tx);
        let app = Harness::idle().await;
        app.send(beginning()).await.unwrap().unwrap();
        assert_eq!(app.rows().await, ["before", "between", "inner", "after"]);
        assert_eq!(
            (app.stored().await, app.probe.log()),
            ((1, 0), ["outer done", "done tx after 4 rows"].map(String::from).into())
        );

        // What is undone afterwards is undone as ever: the inner call alone, or everything.
        let app = Harness::idle().await;
        app.send(Outer { inner_fails: true, ..beginning() }).await.unwrap().unwrap_err();
        assert_eq!(
            (app.rows().await, app.stored().await),
            (["before", "between", "after"].map(String::from).into(), (0, 0))
        );
        app.send(Outer { fails: true, ..beginning() }).await.unwrap_err();
        assert_eq!((app.rows().await.len(), app.stored().await), (3, (0, 0)));
        app.send(InnerTx { fails: false }).await.unwrap();
    })
    .await;
}

/// Wherever it is dropped, a call has happened with its rows, its outbox row and its handlers, or not at all; so has one that
/// itself makes a call within, which may be the one that is ending.
#[tokio::test]
async fn g3_g7_within_a_call_dropped_at_any_poll_leaves_all_of_it_or_nothing() {
    bounded(async {
        for (inner, longest, done) in [(Inner::Tx, 12, &["tx"][..]), (Inner::Nested, 24, &["nested", "tx"])] {
            let (mut kept, mut undone) = (0, 0);
            for polls in (0..longest).cycle().take(240) {
                let app = Harness::idle().await;
                let _ = app.send(outer_of(How::WithinPolled(polls), inner)).await.unwrap_or_else(|e| {
                    panic!("after {polls} polls: {e}: {:?}", std::error::Error::source(&e).map(ToString::to_string))
                });
                let (rows, (outbox, _), log) = (app.rows().await, app.stored().await, app.probe.log());
                let happened = rows.iter().any(|row| row == "inner");
                assert_eq!(outbox > 0, happened, "after {polls} polls: {rows:?} {log:?}");
                for done in done {
                    let ran = log.iter().any(|line| line.starts_with(&format!("done {done} ")));
                    assert_eq!(ran, happened, "{done} after {polls} polls: {rows:?} {log:?}");
                }
                assert!(!rows.iter().any(|row| row == "undone"), "after {polls} polls: {rows:?}");
                *(if happened { &mut kept } else { &mut undone }) += 1;
            }
            assert!(kept > 0 && undone > 0, "{inner:?}: {kept} kept, {undone} undone");
        }
    })
    .await;
}

#[derive(Command, Serialize, Deserialize)]
struct Sent;

#[command_handler]
async fn sent(_cmd: Sent, probe: Inject<Probe>) {
    probe.note("sent");
}

/// The backstop under `app.unit()`: a call that would wait for it fails with an error that says so.
#[tokio::test]
async fn g5_under_a_unit_outside_a_handler_waiting_ends_with_a_store_error() {
    bounded(async {
        let app = Harness::idle().await;
        let unit = app.unit::<Sqlite>().await.unwrap();
        let error = app.send(InnerTx { fails: false }).await.unwrap_err();
        assert_eq!(error.kind(), DispatchErrorKind::Store);
        assert!(error.is_retryable() && error.to_string().contains("begin none while holding another"), "{error}");
        drop(unit);
        app.send(InnerTx { fails: false }).await.unwrap();
    })
    .await;
}
