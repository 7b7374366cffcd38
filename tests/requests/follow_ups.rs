//! What becomes of an event handler that succeeded when what follows it fails.

use std::sync::{Arc, Mutex};

use cqrs::prelude::*;
use cqrs::sqlx::Sqlite;
use cqrs::{BoxError, DispatchErrorKind};
use serde::{Deserialize, Serialize};

use crate::support::{Harness, Probe, Refused, bounded, write};

/// Which handler of the follow-up fails.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Fails {
    Plain,
    Inline,
}

/// What a handler that succeeds does: it notes and writes, and raises the follow-up that fails.
async fn succeed(fails: Fails, tx: &mut Tx<Sqlite>, events: &mut Events, probe: &Probe) -> Result<(), BoxError> {
    probe.note("handled");
    write(tx, "handled").await?;
    raise(fails, events);
    Ok(())
}

fn raise(fails: Fails, events: &mut Events) {
    match fails {
        Fails::Plain => events.raise(PlainEnd),
        Fails::Inline => events.raise(InlineEnd),
    }
}

#[derive(DomainEvent)]
pub struct PlainEnd;

#[event_handler]
async fn plain_end(_e: &PlainEnd, probe: Inject<Probe>) -> Result<(), Refused> {
    probe.note("followed");
    Err(Refused("plain end".to_owned()))
}

#[derive(DomainEvent)]
pub struct InlineEnd;

#[event_handler(inline)]
async fn inline_end(_e: &InlineEnd, probe: Inject<Probe>) -> Result<(), Refused> {
    probe.note("followed");
    Err(Refused("inline end".to_owned()))
}

#[derive(DomainEvent)]
pub struct ToPlain(Fails);

#[event_handler(fallback = plain_again, retry(max = 3, first = "1ms"), breaker(failures = 1, name = "to plain"))]
async fn to_plain(e: &ToPlain, events: &mut Events, probe: Inject<Probe>) -> Result<(), BoxError> {
    probe.note("handled");
    raise(e.0, events);
    Ok(())
}

#[fallback]
async fn plain_again(_e: &ToPlain, probe: Inject<Probe>) {
    probe.note("fallback");
}

#[derive(DomainEvent)]
pub struct ToInline(Fails);

#[event_handler(
    inline,
    fallback = inline_again,
    retry(max = 3, first = "1ms"),
    breaker(failures = 1, name = "to inline")
)]
async fn to_inline(
    e: &ToInline,
    tx: &mut Tx<Sqlite>,
    events: &mut Events,
    probe: Inject<Probe>,
) -> Result<(), BoxError> {
    succeed(e.0, tx, events, &probe).await
}

#[fallback]
async fn inline_again(_e: &ToInline, probe: Inject<Probe>) {
    probe.note("fallback");
}

#[derive(DomainEvent, Serialize, Deserialize)]
pub struct ToDurable(Fails);

#[event_handler(durable, fallback = durable_again, retry(max = 3), breaker(failures = 1, name = "to durable"))]
async fn to_durable(
    e: &ToDurable,
    tx: &mut Tx<Sqlite>,
    events: &mut Events,
    probe: Inject<Probe>,
) -> Result<(), BoxError> {
    succeed(e.0, tx, events, &probe).await
}

#[fallback]
async fn durable_again(_e: &ToDurable, probe: Inject<Probe>) {
    probe.note("fallback");
}

#[derive(NotificationEvent, Serialize, Deserialize)]
#[event(topic = "follow_ups")]
pub struct ToGroup(Fails);

#[event_handler(
    group = "follow_ups",
    fallback = consumed_again,
    retry(max = 3),
    breaker(failures = 1, name = "to group")
)]
async fn to_group(e: &ToGroup, tx: &mut Tx<Sqlite>, events: &mut Events, probe: Inject<Probe>) -> Result<(), BoxError> {
    succeed(e.0, tx, events, &probe).await
}

#[fallback]
async fn consumed_again(_e: &ToGroup, probe: Inject<Probe>) {
    probe.note("fallback");
}

/// An app, and the event errors it reported: handler and error.
async fn watched() -> (Harness, Arc<Mutex<Vec<String>>>) {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let listener = Arc::clone(&seen);
    let harness = Harness::with(|builder| {
        builder.on_event_error(move |error| {
            let own = error.error().map(ToString::to_string).unwrap_or_default();
            listener.lock().unwrap().push(format!("{}: {own}", error.handler()));
        })
    })
    .await;
    (harness, seen)
}

/// Whatever follows, the handler's own breaker has seen a success.
fn assert_breaker_closed(harness: &Harness, name: &str) {
    let state = harness.breakers().into_iter().find(|state| state.name == name).unwrap();
    assert_eq!(state.failures, 0, "{state:?}");
}

/// In the reference the failure of a follow-up ran the event again through the fallback (its weakness 36). After the commit
/// a failure is an event error and nothing else, whatever kind of handler raised the follow-up.
#[tokio::test]
async fn hole_36_a_plain_follow_ups_failure_runs_no_event_handler_again() {
    bounded(async {
        for kind in ["to plain", "to inline", "to durable", "to group"] {
            let (harness, seen) = watched().await;
            match kind {
                "to plain" => harness.publish(ToPlain(Fails::Plain)).await.unwrap(),
                "to inline" => harness.publish(ToInline(Fails::Plain)).await.unwrap(),
                "to durable" => harness.publish(ToDurable(Fails::Plain)).await.unwrap(),
                _ => harness.publish(ToGroup(Fails::Plain)).await.unwrap(),
            }
            harness.settle().await;
            harness.settle_an_hour_later().await;
            assert_eq!(harness.probe.log(), ["handled", "followed"], "{kind}");
            assert_eq!(*seen.lock().unwrap(), ["plain_end: refused: plain end"], "{kind}");
            assert_eq!(harness.rows().await.len(), usize::from(kind != "to plain"), "{kind}: what it wrote stays");
            assert_eq!(
                (harness.stored().await, harness.dead().await.len()),
                ((0, 0), 0),
                "{kind}: nothing is left to do"
            );
            assert_breaker_closed(&harness, kind);
        }
    })
    .await;
}

/// An inline follow-up of a plain handler is in the small unit after it: its failure is an event error of that handler, which
/// has run and is not run again.
#[tokio::test]
async fn hole_36_an_inline_follow_ups_failure_does_not_run_a_plain_handler_again() {
    bounded(async {
        let (harness, seen) = watched().await;
        harness.publish(ToPlain(Fails::Inline)).await.unwrap();
        assert_eq!(harness.probe.log(), ["handled", "followed"]);
        assert_eq!(*seen.lock().unwrap(), ["to_plain: refused: inline end"]);
        assert_breaker_closed(&harness, "to plain");
    })
    .await;
}

/// In one unit with the handler that raised it, an inline follow-up fails that unit; neither fallback nor retry is asked for
/// a handler that succeeded.
#[tokio::test]
async fn hole_36_an_inline_follow_ups_failure_fails_the_unit_and_asks_no_fallback() {
    bounded(async {
        let (harness, _) = watched().await;
        let error = harness.publish(ToInline(Fails::Inline)).await.unwrap_err();
        assert!(matches!(error, cqrs::Error::Dispatch { kind: DispatchErrorKind::EventFailed, .. }), "{error}");
        assert!(format!("{error}").contains("inline_end"), "{error}");
        assert_eq!(harness.probe.log(), ["handled", "followed"]);
        assert!(harness.rows().await.is_empty());
        assert_breaker_closed(&harness, "to inline");
    })
    .await;
}

/// Of stored work the unit is the attempt: undone as a whole, it is tried again as a whole, so often as its attribute says.
/// The fallback stays out of it: the handler has not failed.
#[tokio::test]
async fn hole_36_an_inline_follow_ups_failure_is_an_attempt_of_stored_work_and_asks_no_fallback() {
    bounded(async {
        for kind in ["to durable", "to group"] {
            let (harness, _) = watched().await;
            if kind == "to durable" {
                harness.publish(ToDurable(Fails::Inline)).await.unwrap();
            } else {
                harness.publish(ToGroup(Fails::Inline)).await.unwrap();
            }
            harness.settle_for_hours(4).await;
            assert_eq!(harness.probe.log(), ["handled", "followed"].repeat(3), "{kind}");
            assert!(harness.rows().await.is_empty(), "{kind}");
            let dead = harness.dead().await;
            assert_eq!((dead.len(), dead[0].attempts), (1, 3), "{kind}");
            assert!(dead[0].error.contains("inline_end") && dead[0].error.contains("inline end"), "{}", dead[0].error);
            assert_breaker_closed(&harness, kind);
        }
    })
    .await;
}
