//! Calls from plain event handlers, and what "at most so many at once" counts.

use cqrs::prelude::*;
use cqrs::sqlx::Sqlite;
use cqrs::{BoxError, DispatchErrorKind, EventErrors};

use crate::support::{Harness, Probe, Refused, bounded, write};

#[derive(Command)]
#[command(error = BoxError)]
pub struct Announce {
    /// How many calls deep.
    calls: u32,
}

#[derive(DomainEvent)]
pub struct Announced {
    calls: u32,
}

#[command_handler]
async fn announce(cmd: Announce, tx: &mut Tx<Sqlite>, events: &mut Events) -> Result<(), BoxError> {
    write(tx, format!("announce {}", cmd.calls)).await?;
    events.raise(Announced { calls: cmd.calls });
    Ok(())
}

/// A plain handler that sends, and waits for the answer: the call it makes raises events as well.
#[event_handler(order = 1)]
async fn passes_on(e: &Announced, app: &App, probe: Inject<Probe>) -> Result<(), BoxError> {
    probe.note(format!("> {}", e.calls));
    if e.calls > 0 {
        app.send(Announce { calls: e.calls - 1 }).await?;
    }
    probe.note(format!("< {}", e.calls));
    Ok(())
}

#[event_handler(order = 2)]
async fn takes_note(e: &Announced, probe: Inject<Probe>) {
    probe.note(format!("noted {}", e.calls));
}

/// In the reference the limit was one for all calls of a mediator: a handler that sent waited for the place it held itself
/// (its weakness 37).
#[tokio::test]
async fn hole_37_a_call_from_a_plain_handler_at_concurrency_one_does_not_wait_for_itself() {
    bounded(async {
        for concurrency in [1, 2] {
            let harness = Harness::with(|builder| builder.event_concurrency(concurrency)).await;
            harness.send(Announce { calls: 3 }).await.unwrap();
            assert_eq!(harness.rows().await, ["announce 3", "announce 2", "announce 1", "announce 0"]);
            assert_eq!(harness.event_error_count(), 0);
            for calls in 0..=3 {
                assert_eq!(harness.probe.count(&format!("noted {calls}")), 1, "{:?}", harness.probe.log());
            }
            if concurrency == 1 {
                // A call answers when its events are handled, the inner one too.
                let inside = [
                    "> 3", "> 2", "> 1", "> 0", "< 0", "noted 0", "< 1", "noted 1", "< 2", "noted 2", "< 3", "noted 3",
                ];
                assert_eq!(harness.probe.log(), inside);
            }
        }
    })
    .await;
}

#[derive(Command)]
pub struct Crowd {
    place: &'static str,
    events: u32,
}

#[derive(DomainEvent)]
pub struct Crowded {
    place: &'static str,
    number: u32,
}

#[command_handler]
async fn crowd(cmd: Crowd, events: &mut Events) {
    for number in 0..cmd.events {
        events.raise(Crowded { place: cmd.place, number });
    }
}

#[event_handler]
async fn crowded(e: &Crowded, probe: Inject<Probe>) -> Result<(), Refused> {
    probe.note(format!("{} {} begins", e.place, e.number));
    if e.number == 0 {
        probe.try_it("the first")?;
    }
    probe.pass(e.place).await;
    probe.note(format!("{} {} ends", e.place, e.number));
    Ok(())
}

/// The limit is one for each outermost call: what one call waits for holds up no other.
#[tokio::test]
async fn hole_37_g5_concurrency_is_counted_per_outermost_call() {
    bounded(async {
        let harness = Harness::with(|builder| builder.event_concurrency(1)).await;
        harness.probe.close("slow");
        let slow = tokio::spawn(harness.send(Crowd { place: "slow", events: 2 }));
        harness.probe.arrived("slow").await;
        harness.send(Crowd { place: "quick", events: 2 }).await.unwrap();
        let quick = ["quick 0 begins", "quick 0 ends", "quick 1 begins", "quick 1 ends"];
        assert_eq!(harness.probe.log(), ["slow 0 begins"].into_iter().chain(quick).collect::<Vec<_>>());
        assert!(!slow.is_finished());
        for _ in 0..2 {
            harness.probe.open("slow");
        }
        slow.await.unwrap().unwrap();
        assert_eq!(harness.probe.log()[5..], ["slow 0 ends", "slow 1 begins", "slow 1 ends"]);
    })
    .await;
}

/// In the reference the siblings of a failed handler ran on after `send` had raised (its weakness 37).
#[tokio::test]
async fn hole_37_a_call_that_fails_with_an_event_handler_answers_after_its_siblings() {
    bounded(async {
        let harness = Harness::with(|builder| builder.event_concurrency(3).event_errors(EventErrors::Fail)).await;
        harness.probe.close("siblings");
        harness.probe.fail("the first", 1);
        let call = tokio::spawn(harness.send(Crowd { place: "siblings", events: 5 }));
        // The one that fails makes room for another, which waits as well.
        for _ in 0..3 {
            harness.probe.arrived("siblings").await;
        }
        for number in 1..5 {
            assert!(!call.is_finished(), "it answered before its sibling {number} had ended");
            harness.probe.open("siblings");
            harness.probe.noted(&format!("siblings {number} ends"), 1).await;
        }
        let error = call.await.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.name()), (DispatchErrorKind::EventFailed, Some("crowded")));
    })
    .await;
}
