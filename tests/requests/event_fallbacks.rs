//! Policies of event handlers: plain, inline, durable and consumed ones.

use cqrs::prelude::*;
use cqrs::sqlx::Sqlite;
use cqrs::{BoxError, DispatchErrorKind};
use serde::{Deserialize, Serialize};

use crate::support::{Harness, Probe, Refused, bounded, write};

#[derive(Command, Debug, Clone, Copy)]
#[command(error = BoxError)]
pub struct Raise {
    plain: bool,
    inline: bool,
    durable: bool,
    consumed: bool,
}

const NOTHING: Raise = Raise { plain: false, inline: false, durable: false, consumed: false };

#[command_handler]
async fn raise(cmd: Raise, tx: &mut Tx<Sqlite>, events: &mut Events) -> Result<(), BoxError> {
    write(tx, "command").await?;
    if cmd.plain {
        events.raise(ForPlain);
    }
    if cmd.inline {
        events.raise(ForInline);
    }
    if cmd.durable {
        events.raise(ForDurable);
    }
    if cmd.consumed {
        events.raise(ForGroup { number: 7 });
    }
    Ok(())
}

#[derive(DomainEvent)]
pub struct ForPlain;

#[event_handler(fallback = plain_by_hand, retry(max = 2, first = "1ms"))]
async fn plain(_e: &ForPlain, events: &mut Events, probe: Inject<Probe>) -> Result<(), Refused> {
    probe.note("plain");
    events.raise(FollowUp("plain"));
    Err(Refused("plain".to_owned()))
}

#[fallback]
async fn plain_by_hand(_e: &ForPlain, cause: Cause<Refused>, events: &mut Events, probe: Inject<Probe>) {
    probe.note(format!("by hand: {cause}"));
    events.raise(FollowUp("hand"));
}

#[derive(DomainEvent)]
pub struct FollowUp(&'static str);

#[event_handler]
async fn follow_up(e: &FollowUp, probe: Inject<Probe>) {
    probe.note(format!("follow-up of {}", e.0));
}

#[tokio::test]
async fn a_plain_handler_has_retries_and_a_fallback() {
    bounded(async {
        let harness = Harness::idle().await;
        harness.send(Raise { plain: true, ..NOTHING }).await.unwrap();
        assert_eq!(harness.probe.log(), ["plain", "plain", "by hand: refused: plain", "follow-up of hand"]);
    })
    .await;
}

#[derive(DomainEvent, Clone)]
pub struct ForInline;

#[event_handler(inline, fallback = inline_by_hand, timeout = "50ms")]
async fn inline(_e: &ForInline, tx: &mut Tx<Sqlite>, events: &mut Events) -> Result<(), BoxError> {
    write(tx, "inline").await?;
    events.raise(FollowUp("inline"));
    std::future::pending::<()>().await;
    Ok(())
}

/// By value: the event is `Clone`, since it goes to several handlers.
#[fallback]
async fn inline_by_hand(_e: ForInline, tx: &mut Tx<Sqlite>) -> Result<(), BoxError> {
    write(tx, "inline by hand").await?;
    Ok(())
}

#[tokio::test]
async fn an_inline_handlers_fallback_keeps_what_the_command_wrote() {
    bounded(async {
        let harness = Harness::idle().await;
        harness.send(Raise { inline: true, ..NOTHING }).await.unwrap();
        assert_eq!(harness.rows().await, ["command", "inline by hand"]);
        assert!(harness.probe.log().is_empty(), "what the inline handler raised is undone");
    })
    .await;
}

#[derive(DomainEvent, Serialize, Deserialize)]
pub struct ForDurable;

#[event_handler(durable, retry(max = 2), fallback = durable_by_hand, on = [Refused(why) if why == "durable"])]
async fn durable(_e: &ForDurable, tx: &mut Tx<Sqlite>, probe: Inject<Probe>) -> Result<(), Refused> {
    probe.note("durable");
    write(tx, "durable").await.map_err(|error| Refused(error.to_string()))?;
    probe.try_it("durable")?;
    probe.try_it("hopeless")?;
    Ok(())
}

#[fallback]
async fn durable_by_hand(_e: &ForDurable, tx: &mut Tx<Sqlite>, probe: Inject<Probe>) -> Result<(), BoxError> {
    probe.note("durable by hand");
    write(tx, "durable by hand").await?;
    probe.try_it("by hand")?;
    Ok(())
}

#[tokio::test]
async fn a_durable_handlers_fallback_is_part_of_its_attempt() {
    bounded(async {
        let harness = Harness::start().await;
        harness.probe.fail("durable", 1);
        harness.send(Raise { durable: true, ..NOTHING }).await.unwrap();
        harness.settle().await;
        assert_eq!(harness.rows().await, ["command", "durable by hand"]);
        assert_eq!(harness.probe.log(), ["durable", "durable by hand"]);
        assert_eq!(harness.stored().await, (0, 0));
    })
    .await;
}

#[tokio::test]
async fn when_a_durable_handlers_fallback_fails_as_well_the_attempt_has_failed() {
    bounded(async {
        let harness = Harness::start().await;
        harness.probe.fail("durable", 2);
        harness.probe.fail("by hand", 2);
        harness.send(Raise { durable: true, ..NOTHING }).await.unwrap();
        harness.settle().await;
        harness.settle_an_hour_later().await;
        assert_eq!(harness.rows().await, ["command"]);
        let dead = harness.dead().await;
        assert_eq!(dead.len(), 1);
        assert!(dead[0].error.contains("by hand") && dead[0].error.contains("refused: durable"), "{}", dead[0].error);
    })
    .await;
}

/// An error that does not count is not tried again: it is a dead letter at once.
#[tokio::test]
async fn stored_work_is_tried_again_only_for_errors_that_count() {
    bounded(async {
        let harness = Harness::start().await;
        harness.probe.fail("hopeless", 1);
        harness.send(Raise { durable: true, ..NOTHING }).await.unwrap();
        harness.settle().await;
        assert_eq!(harness.probe.log(), ["durable"]);
        let dead = harness.dead().await;
        assert_eq!(dead.len(), 1);
        assert!(dead[0].error.contains("refused: hopeless"), "{}", dead[0].error);
    })
    .await;
}

#[derive(NotificationEvent, Clone, Serialize, Deserialize)]
#[event(topic = "fallbacks")]
pub struct ForGroup {
    number: u32,
}

#[event_handler(group = "fallbacks", fallback = consumed_by_hand, breaker(failures = 1))]
async fn consumed(e: ForGroup, tx: &mut Tx<Sqlite>) -> Result<(), Refused> {
    write(tx, format!("consumed {}", e.number)).await.map_err(|error| Refused(error.to_string()))?;
    Err(Refused("consumed".to_owned()))
}

#[fallback]
async fn consumed_by_hand(e: &ForGroup, cause: Cause<Refused>, tx: &mut Tx<Sqlite>) -> Result<(), BoxError> {
    write(tx, format!("consumed {} by hand: {cause}", e.number)).await?;
    Ok(())
}

#[tokio::test]
async fn a_consumed_handlers_fallback_is_handled_once() {
    bounded(async {
        let harness = Harness::start().await;
        harness.send(Raise { consumed: true, ..NOTHING }).await.unwrap();
        harness.settle().await;
        harness.send(Raise { consumed: true, ..NOTHING }).await.unwrap();
        harness.settle().await;
        assert_eq!(
            harness.rows().await,
            [
                "command",
                "consumed 7 by hand: refused: consumed",
                "command",
                "consumed 7 by hand: its circuit breaker is open"
            ]
        );
    })
    .await;
}

#[derive(Command)]
#[command(error = BoxError)]
pub struct RaiseDoomed;

#[command_handler]
async fn raise_doomed(_cmd: RaiseDoomed, events: &mut Events) {
    events.raise(Doomed);
}

#[derive(DomainEvent)]
pub struct Doomed;

#[event_handler(inline, timeout = "20ms")]
async fn doomed(_e: &Doomed) {
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_timeout_without_a_fallback_is_the_calls() {
    bounded(async {
        let harness = Harness::idle().await;
        let error = harness.send(RaiseDoomed).await.unwrap_err();
        assert_eq!((error.kind(), error.name()), (DispatchErrorKind::Timeout, Some("doomed")));
    })
    .await;
}
