//! G3: panics, drops and timeouts of single calls.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use cqrs::DispatchErrorKind;
use cqrs::prelude::*;
use cqrs::sqlx::{self, Sqlite};
use serde::{Deserialize, Serialize};

use crate::support::{Harness, Probe, bounded, write};

#[derive(NotificationEvent, Serialize, Deserialize)]
struct CallPublished;

#[derive(DomainEvent)]
struct CallDone;

#[derive(Command)]
struct PanicPlain;

#[command_handler]
async fn panic_plain(_cmd: PanicPlain) {
    panic!("plain {}", "panic");
}

#[derive(Command)]
#[command(error = sqlx::Error)]
struct Act {
    then: Then,
}

#[derive(Clone, Copy, PartialEq)]
enum Then {
    Finish,
    Panic,
    Wait,
}

#[command_handler]
async fn act(cmd: Act, tx: &mut Tx<Sqlite>, events: &mut Events, probe: Inject<Probe>) -> Result<(), sqlx::Error> {
    write(tx, "act").await?;
    events.raise(CallPublished);
    events.raise(CallDone);
    match cmd.then {
        Then::Finish => {}
        Then::Panic => panic!("after the write"),
        Then::Wait => probe.pass("act").await,
    }
    Ok(())
}

#[event_handler]
async fn after_act(_e: &CallDone, probe: Inject<Probe>) {
    probe.pass("after").await;
    probe.note("after");
}

#[derive(Query)]
struct PanicQuery;

#[query_handler]
async fn panic_query(_q: PanicQuery) {
    std::panic::panic_any(7_u8);
}

#[tokio::test]
async fn g3_a_panic_fails_its_own_call_and_the_app_goes_on() {
    bounded(async {
        let app = Harness::idle().await;
        let error = app.send(PanicPlain).await.unwrap_err();
        assert!(
            matches!(&error, DispatchError::Panicked { handler: "panic_plain", message } if message == "plain panic")
        );
        assert_eq!(error.name(), Some("panic_plain"));
        assert!(!error.is_retryable());
        let error = app.query(PanicQuery).await.unwrap_err();
        assert_eq!(error.kind(), DispatchErrorKind::Panicked);
        assert!(error.to_string().contains("without a message"), "{error}");

        let error = app.send(Act { then: Then::Panic }).await.unwrap_err();
        assert!(matches!(&error, DispatchError::Panicked { handler: "act", message } if message == "after the write"));
        assert_eq!((app.rows().await.len(), app.stored().await), (0, (0, 0)));
        app.send(Act { then: Then::Finish }).await.unwrap();
        assert_eq!((app.rows().await.len(), app.stored().await), (1, (1, 0)));
    })
    .await;
}

/// A panic anywhere around the handler is the call's, too.
#[tokio::test]
async fn g3_a_panic_in_an_event_handler_is_an_event_error() {
    bounded(async {
        let app = Harness::start().await;
        app.send(Blow).await.unwrap();
        assert_eq!(app.event_error_count(), 1);
        app.send(Nothing).await.unwrap();
    })
    .await;
}

#[derive(Command)]
struct Blow;

#[derive(Command)]
struct Nothing;

#[derive(DomainEvent)]
struct Blown;

#[command_handler]
async fn blow(_cmd: Blow, events: &mut Events) {
    events.raise(Blown);
}

#[command_handler]
async fn nothing(_cmd: Nothing) {}

#[event_handler]
async fn blown(_e: &Blown) {
    panic!("blown");
}

/// Polls a call until its handler has come to a place, then drops it.
async fn drop_at(probe: &Probe, place: &str, call: impl Future) {
    let mut call = pin!(call);
    tokio::select! {
        biased;
        _ = &mut call => panic!("the call ended before `{place}`"),
        () = probe.arrived(place) => {}
    }
}

#[tokio::test]
async fn g3_a_send_dropped_before_its_commit_rolls_back_and_the_next_write_goes_through() {
    bounded(async {
        let app = Harness::idle().await;
        app.probe.close("act");
        drop_at(&app.probe, "act", app.send(Act { then: Then::Wait })).await;
        // At once: no timeout of the pool or of SQLite is waited for, or this call would fail.
        app.send(Act { then: Then::Finish }).await.unwrap();
        assert_eq!((app.rows().await.len(), app.stored().await), (1, (1, 0)));
        assert_eq!(app.probe.log(), ["after"]);
        assert_eq!(app.events::<CallDone>().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn g3_a_send_dropped_after_its_commit_is_finished_by_the_runtime() {
    bounded(async {
        let app = Harness::idle().await;
        app.probe.close("after");
        drop_at(&app.probe, "after", app.send(Act { then: Then::Finish })).await;
        assert_eq!((app.rows().await.len(), app.stored().await), (1, (1, 0)));
        assert!(app.probe.log().is_empty());
        app.probe.open("after");
        app.probe.noted("after", 1).await;
    })
    .await;
}

/// Dropped at every single poll, a call is committed with its events or not at all.
#[tokio::test]
async fn g3_a_send_dropped_at_any_poll_does_all_or_nothing() {
    bounded(async {
        let app = Harness::idle().await;
        for polls in 0..400 {
            let (rows, (outbox, _)) = (app.rows().await.len(), app.stored().await);
            assert_eq!(rows as u64, outbox);
            let mut left = polls;
            let mut call = app.send(Act { then: Then::Finish });
            let ended = std::future::poll_fn(|cx| {
                if left == 0 {
                    return Poll::Ready(None);
                }
                left -= 1;
                std::pin::Pin::new(&mut call).poll(cx).map(Some)
            })
            .await;
            drop(call);
            if let Some(ended) = ended {
                ended.unwrap();
                break;
            }
        }
        // Whatever was cut off after its commit runs to its end.
        let rows = app.rows().await.len();
        app.probe.noted("after", rows).await;
        assert_eq!(app.stored().await.0, rows as u64);
        assert_eq!(app.probe.count("after"), rows);
        app.send(Act { then: Then::Finish }).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn g3_a_timeout_rolls_back() {
    bounded(async {
        let app = Harness::idle().await;
        app.probe.close("act");
        let error = app.send(Act { then: Then::Wait }).timeout(Duration::from_millis(200)).await.unwrap_err();
        assert!(matches!(error, DispatchError::Timeout { handler: "act", .. }), "{error:?}");
        assert!(error.is_retryable());
        assert_eq!((app.rows().await.len(), app.stored().await), (0, (0, 0)));
        app.send(Act { then: Then::Finish }).timeout(Duration::from_secs(60)).await.unwrap();
        assert_eq!((app.rows().await.len(), app.stored().await), (1, (1, 0)));
        assert_eq!(app.probe.log(), ["after"]);
    })
    .await;
}

#[derive(Command)]
#[command(response = u32)]
struct Block(Duration);

/// Ends on its first poll, however long that takes.
#[command_handler]
async fn block(cmd: Block, probe: Inject<Probe>) -> u32 {
    probe.note("block");
    std::thread::sleep(cmd.0);
    7
}

/// A deadline that is over is over, also for a handler that never waits.
#[tokio::test]
async fn g3_a_deadline_that_is_over_lets_nothing_begin_and_nothing_end() {
    bounded(async {
        let app = Harness::idle().await;
        let over = |result: Result<u32, DispatchError<cqrs::BoxError>>, after| match result.unwrap_err() {
            DispatchError::Timeout { handler: "block", after: said } => assert_eq!(said, after),
            error => panic!("{error:?}"),
        };
        over(app.send(Block(Duration::ZERO)).timeout(Duration::ZERO).await, Duration::ZERO);
        assert_eq!(app.probe.count("block"), 0, "it does not begin");
        let short = Duration::from_millis(10);
        over(app.send(Block(short * 5)).timeout(short).await, short);
        assert_eq!(app.probe.count("block"), 1, "it ends, and is late");
        assert_eq!(app.send(Block(Duration::ZERO)).timeout(Duration::from_secs(60)).await.unwrap(), 7);

        let error = app.send(Act { then: Then::Finish }).timeout(Duration::ZERO).await.unwrap_err();
        assert!(matches!(error, DispatchError::Timeout { handler: "act", .. }), "{error:?}");
        assert_eq!((app.rows().await.len(), app.stored().await), (0, (0, 0)));
    })
    .await;
}

/// The timeout ends with the commit: what follows it takes what it takes.
#[tokio::test]
async fn g3_a_timeout_does_not_cut_off_what_follows_the_commit() {
    bounded(async {
        let app = Harness::idle().await;
        app.probe.close("after");
        let call = app.send(Act { then: Then::Finish }).timeout(Duration::from_secs(20));
        let (sent, ()) = tokio::join!(call, async {
            app.probe.arrived("after").await;
            tokio::time::pause();
            tokio::time::advance(Duration::from_secs(60)).await;
            tokio::time::resume();
            app.probe.open("after");
        });
        sent.unwrap();
        assert_eq!(app.probe.log(), ["after"]);
    })
    .await;
}

#[tokio::test]
async fn calls_are_futures_for_join_and_select() {
    bounded(async {
        let app = Harness::idle().await;
        let (one, two, three) =
            tokio::join!(app.send(Act { then: Then::Finish }), app.send(Nothing), app.send(Act { then: Then::Finish }));
        one.and(three).unwrap();
        two.unwrap();
        let mut call = app.send(Nothing);
        tokio::select! { done = &mut call => done.unwrap() }
        assert_eq!(app.rows().await.len(), 2);
    })
    .await;
}

#[derive(Command)]
#[command(response = (String, Option<String>, bool))]
struct Headers;

#[command_handler]
async fn headers(_cmd: Headers, meta: &Meta) -> (String, Option<String>, bool) {
    let own = meta.id() == meta.correlation_id();
    (meta.correlation_id().to_string(), meta.header("k").map(str::to_owned), own)
}

#[tokio::test]
async fn header_and_correlation_reach_the_handler() {
    bounded(async {
        let app = Harness::start().await;
        let id = uuid::Uuid::now_v7();
        let said = app.send(Headers).header("k", "v").correlation(id).await.unwrap();
        assert_eq!(said, (id.to_string(), Some("v".to_owned()), false));
        let (_, header, own) = app.send(Headers).await.unwrap();
        assert_eq!((header, own), (None, true));
    })
    .await;
}
