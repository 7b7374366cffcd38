//! G4, G5, G6: events after the commit, their follow-ups, their failures.

use std::sync::{Arc, Mutex};

use cqrs::prelude::*;
use cqrs::sqlx::Sqlite;
use cqrs::{DispatchErrorKind, EventErrors};
use serde::{Deserialize, Serialize};

use crate::support::{Harness, Log, Probe, Refused, bounded, write};

#[derive(Command)]
#[command(response = &'static str)]
struct Grow;

/// A node of a tree: `path` says where, its handler raises its children.
#[derive(DomainEvent)]
struct Grown {
    path: &'static str,
}

#[command_handler]
async fn grow(_cmd: Grow, events: &mut Events) -> &'static str {
    events.raise(Grown { path: "a" });
    events.raise(Grown { path: "b" });
    "grown"
}

fn children(path: &str) -> &'static [&'static str] {
    match path {
        "a" => &["a1", "a2"],
        "b" => &["b1"],
        "a1" => &["a11"],
        "b1" => &["b11"],
        _ => &[],
    }
}

#[event_handler]
async fn grown(e: &Grown, events: &mut Events, probe: Inject<Probe>) {
    probe.note(e.path);
    for path in children(e.path) {
        events.raise(Grown { path });
    }
}

#[tokio::test]
async fn g4_g5_follow_ups_run_breadth_first() {
    bounded(async {
        let app = Harness::start().await;
        assert_eq!(app.send(Grow).await.unwrap(), "grown");
        // `send` answers after the plain handlers of its events and their follow-ups have ended.
        assert_eq!(app.probe.log(), ["a", "b", "a1", "a2", "b1", "a11", "b11"]);
        assert_eq!(app.events::<Grown>().len(), 7);
    })
    .await;
}

#[tokio::test]
async fn g5_the_order_of_levels_does_not_depend_on_the_concurrency() {
    bounded(async {
        let app = Harness::with(|builder| builder.event_concurrency(8)).await;
        app.send(Grow).await.unwrap();
        let recorded: Vec<_> = app.events::<Grown>().iter().map(|event| event.path).collect();
        assert_eq!(recorded, ["a", "b", "a1", "a2", "b1", "a11", "b11"]);
    })
    .await;
}

#[derive(Command)]
struct Crowd(u32);

#[derive(DomainEvent)]
struct Crowded;

#[derive(Default)]
struct Inside(Mutex<(u32, u32)>);

#[provider]
fn inside() -> Inside {
    Inside::default()
}

#[command_handler]
async fn crowd(cmd: Crowd, events: &mut Events) {
    for _ in 0..cmd.0 {
        events.raise(Crowded);
    }
}

#[event_handler]
async fn crowded(_e: &Crowded, inside: Inject<Inside>, probe: Inject<Probe>) {
    {
        let mut counts = inside.0.lock().unwrap();
        counts.0 += 1;
        counts.1 = counts.1.max(counts.0);
        probe.note(format!("most {}", counts.1));
    }
    probe.pass("crowd").await;
    inside.0.lock().unwrap().0 -= 1;
}

#[tokio::test]
async fn g5_one_handler_at_once_unless_said_otherwise() {
    bounded(async {
        let app = Harness::start().await;
        app.probe.close("crowd");
        let (sent, ()) = tokio::join!(app.send(Crowd(3)), async {
            for _ in 0..3 {
                app.probe.arrived("crowd").await;
                app.probe.open("crowd");
            }
        });
        sent.unwrap();
        assert_eq!(app.probe.log(), ["most 1", "most 1", "most 1"]);
    })
    .await;
}

#[tokio::test]
async fn g5_at_most_event_concurrency_at_once_and_not_less() {
    bounded(async {
        let app = Harness::with(|builder| builder.event_concurrency(3)).await;
        app.probe.close("crowd");
        let (sent, ()) = tokio::join!(app.send(Crowd(7)), async {
            // Three come without any of them going on; a fourth only once one has gone.
            for _ in 0..3 {
                app.probe.arrived("crowd").await;
            }
            for _ in 0..7 {
                app.probe.open("crowd");
            }
        });
        sent.unwrap();
        assert_eq!(app.probe.log().last().unwrap(), "most 3");
    })
    .await;
}

#[derive(Command)]
struct Spin;

#[derive(DomainEvent)]
struct Ping;

#[derive(DomainEvent)]
struct Pong;

#[command_handler]
async fn spin(_cmd: Spin, events: &mut Events) {
    events.raise(Ping);
}

#[event_handler]
async fn ping(_e: &Ping, events: &mut Events, probe: Inject<Probe>) {
    probe.note("ping");
    events.raise(Pong);
}

#[event_handler]
async fn pong(_e: &Pong, events: &mut Events, probe: Inject<Probe>) {
    probe.note("pong");
    events.raise(Ping);
}

#[tokio::test]
async fn g5_a_circle_of_events_ends_at_the_depth_limit_and_is_named() {
    bounded(async {
        let app = Harness::start().await;
        let error = app.send(Spin).await.unwrap_err();
        let DispatchError::EventDepth { limit: 64, cycle } = &error else { panic!("{error:?}") };
        assert_eq!(cycle, "Ping -> Pong -> Ping");
        assert_eq!(app.probe.log().len(), 64);
        assert!(error.to_string().contains("Ping -> Pong -> Ping"), "{error}");

        let app = Harness::with(|builder| builder.event_depth(5)).await;
        assert_eq!(app.send(Spin).await.unwrap_err().kind(), DispatchErrorKind::EventDepth);
        assert_eq!(app.probe.log().len(), 5);
    })
    .await;
}

#[derive(Command)]
struct SpinInline;

#[derive(DomainEvent)]
struct Whirl;

#[command_handler]
async fn spin_inline(_cmd: SpinInline, events: &mut Events, tx: &mut Tx<Sqlite>) -> Result<(), cqrs::BoxError> {
    write(tx, "spin").await?;
    events.raise(Whirl);
    Ok(())
}

#[event_handler(inline)]
async fn whirl(_e: &Whirl, events: &mut Events) {
    events.raise(Whirl);
}

#[tokio::test]
async fn g5_a_circle_of_inline_handlers_fails_before_the_commit() {
    bounded(async {
        let app = Harness::idle().await;
        let error = app.send(SpinInline).await.unwrap_err();
        assert!(matches!(&error, DispatchError::EventDepth { cycle, .. } if cycle == "Whirl -> Whirl"), "{error:?}");
        assert!(app.rows().await.is_empty());
    })
    .await;
}

#[derive(Command)]
#[command(response = u32)]
struct Fall;

#[derive(DomainEvent)]
struct Fallen;

#[derive(DomainEvent)]
struct Risen;

#[command_handler]
async fn fall(_cmd: Fall, events: &mut Events, tx: &mut Tx<Sqlite>) -> Result<u32, cqrs::BoxError> {
    write(tx, "fall").await?;
    events.raise(Fallen);
    Ok(9)
}

#[event_handler(order = 1)]
async fn breaks(_e: &Fallen, events: &mut Events) -> Result<(), Refused> {
    events.raise(Risen);
    Err(Refused("broken".to_owned()))
}

#[event_handler(order = 2)]
async fn panics(_e: &Fallen) {
    panic!("broken too");
}

#[event_handler(order = 3)]
async fn holds(_e: &Fallen, events: &mut Events, probe: Inject<Probe>) {
    probe.note("holds");
    events.raise(Risen);
}

#[event_handler]
async fn risen(_e: &Risen, probe: Inject<Probe>) {
    probe.note("risen");
}

/// In the reference one failing handler cancelled all later handlers and events, and hid the response of a command that had been
/// committed (its weakness 38).
#[tokio::test]
async fn hole_38_g6_a_failing_handler_neither_stops_the_others_nor_hides_the_response() {
    bounded(async {
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let listener = Arc::clone(&seen);
        let app = Harness::with(|builder| {
            builder.on_event_error(move |error| {
                let own = error.error().map(ToString::to_string);
                listener.lock().unwrap().push(format!("{} {} {own:?}", error.event(), error.handler()));
            })
        })
        .await;
        assert_eq!(app.send(Fall).await.unwrap(), 9);
        // What the failing handler raised is not.
        assert_eq!(app.probe.log(), ["holds", "risen"]);
        assert_eq!(*seen.lock().unwrap(), [r#"Fallen breaks Some("refused: broken")"#, "Fallen panics None"]);
        assert_eq!(app.event_error_count(), 2);
    })
    .await;
}

/// One line for each, in which nothing stands before its text and every field is told once.
#[tokio::test]
async fn g6_the_line_about_a_failing_handler_says_which_and_why() {
    bounded(async {
        let log = Log::start();
        let app = Harness::start().await;
        app.send(Fall).await.unwrap();
        let text = log.text();
        let lines: Vec<_> = text.lines().filter_map(|line| line.split_once("ERROR ")).map(|(_, line)| line).collect();
        assert_eq!(
            lines,
            [
                r#"cqrs::event::process: an event handler failed event="Fallen" handler="breaks" error="`breaks`, a handler of `Fallen`, failed: refused: broken""#,
                r#"cqrs::event::process: an event handler failed event="Fallen" handler="panics" error="`panics` panicked: broken too""#,
            ]
        );
    })
    .await;
}

#[tokio::test]
async fn g6_event_errors_fail_makes_the_call_fail_after_everything_ran() {
    bounded(async {
        let app = Harness::with(|builder| builder.event_errors(EventErrors::Fail)).await;
        let error = app.send(Fall).await.unwrap_err();
        let DispatchError::EventFailed { event: "Fallen", handler: "breaks", source } = &error else {
            panic!("{error:?}")
        };
        assert_eq!(source.downcast_ref::<Refused>(), Some(&Refused("broken".to_owned())));
        assert_eq!(error.name(), Some("breaks"));
        assert_eq!(app.probe.log(), ["holds", "risen"]);
        assert_eq!(app.rows().await, ["fall"], "the commit stays");
    })
    .await;
}

#[derive(Command)]
#[command(error = cqrs::BoxError)]
struct Reserve {
    number: u32,
}

#[derive(DomainEvent)]
pub struct Reserving {
    pub number: u32,
}

#[derive(DomainEvent)]
struct Reserved {
    number: u32,
}

#[derive(NotificationEvent, Serialize, Deserialize)]
struct ReservedV1 {
    number: u32,
}

#[command_handler]
async fn reserve(cmd: Reserve, events: &mut Events, tx: &mut Tx<Sqlite>) -> Result<(), cqrs::BoxError> {
    write(tx, "reserve").await?;
    events.raise(Reserving { number: cmd.number });
    Ok(())
}

#[event_handler(inline)]
async fn take_number(e: &Reserving, tx: &mut Tx<Sqlite>, events: &mut Events) -> Result<(), cqrs::BoxError> {
    write(tx, format!("number {}", e.number)).await?;
    events.raise(Reserved { number: e.number });
    events.raise(ReservedV1 { number: e.number });
    if e.number == 13 { Err(Refused("13".to_owned()).into()) } else { Ok(()) }
}

#[event_handler(inline)]
async fn and_count(e: &Reserved, begin: &mut Begin<Sqlite>) -> Result<(), cqrs::BoxError> {
    let tx = begin.begin().await?;
    write(tx, format!("count {}", e.number)).await?;
    if e.number == 14 { panic!("14") } else { Ok(()) }
}

#[event_handler]
async fn on_reserved(e: &Reserved, probe: Inject<Probe>) {
    probe.note(format!("reserved {}", e.number));
}

#[tokio::test]
async fn g6_inline_handlers_are_part_of_the_unit() {
    bounded(async {
        let app = Harness::idle().await;
        app.send(Reserve { number: 1 }).await.unwrap();
        assert_eq!(app.rows().await, ["reserve", "number 1", "count 1"]);
        assert_eq!((app.stored().await, app.probe.log()), ((1, 0), vec!["reserved 1".to_owned()]));
    })
    .await;
}

#[tokio::test]
async fn g6_g7_an_inline_handlers_failure_fails_the_command_and_rolls_back() {
    bounded(async {
        let app = Harness::idle().await;
        let error = app.send(Reserve { number: 13 }).await.unwrap_err();
        assert!(
            matches!(&error, DispatchError::EventFailed { event: "Reserving", handler: "take_number", .. }),
            "{error:?}"
        );
        let error = app.send(Reserve { number: 14 }).await.unwrap_err();
        assert!(matches!(&error, DispatchError::Panicked { handler: "and_count", .. }), "{error:?}");
        assert!(app.rows().await.is_empty() && app.stored().await == (0, 0) && app.probe.log().is_empty());
        assert!(app.events::<Reserving>().is_empty(), "what was not committed was not raised");
        app.send(Reserve { number: 2 }).await.unwrap();
    })
    .await;
}

/// An inline handler of an event of a command that has no transaction of its own: one is begun for it.
#[tokio::test]
async fn inline_handlers_begin_the_transaction_they_need() {
    bounded(async {
        let app = Harness::idle().await;
        app.publish(Reserving { number: 3 }).await.unwrap();
        assert_eq!(app.rows().await, ["number 3", "count 3"]);
        let error = app.publish(Reserving { number: 13 }).await.unwrap_err();
        assert!(matches!(error, cqrs::Error::Dispatch { kind: DispatchErrorKind::EventFailed, .. }), "{error}");
        assert_eq!((app.rows().await.len(), app.stored().await), (2, (1, 0)));
    })
    .await;
}

#[derive(DomainEvent)]
struct Echo;

#[derive(NotificationEvent, Serialize, Deserialize)]
struct EchoV1;

#[derive(Command, Serialize, Deserialize)]
struct EchoCommand;

#[command_handler]
async fn echo_command(_cmd: EchoCommand, probe: Inject<Probe>) {
    probe.note("echo");
}

/// G4: what a plain handler raises and sends is stored in a small unit of its own.
#[event_handler]
async fn echo(_e: &Echo, events: &mut Events) {
    events.raise(EchoV1);
    events.send(EchoCommand);
    events.raise(Reserving { number: 4 });
}

#[tokio::test]
async fn g4_follow_ups_of_every_kind_are_processed() {
    bounded(async {
        let app = Harness::idle().await;
        app.publish(Echo).await.unwrap();
        assert_eq!(app.rows().await, ["number 4", "count 4"]);
        assert_eq!(app.stored().await, (2, 1));
        assert_eq!(app.probe.log(), ["reserved 4"]);
        assert_eq!(app.events::<EchoV1>().len(), 1);
    })
    .await;
}

/// A small unit that fails takes everything with it, and is an event error.
#[event_handler(order = 1)]
async fn echo_badly(_e: &Echo, events: &mut Events, probe: Inject<Probe>) {
    if probe.try_it("echo badly").is_err() {
        events.raise(EchoV1);
        events.raise(Reserving { number: 13 });
    }
}

#[tokio::test]
async fn g6_a_failing_follow_up_unit_is_an_event_error_and_stores_nothing() {
    bounded(async {
        let app = Harness::idle().await;
        app.probe.fail("echo badly", 1);
        app.publish(Echo).await.unwrap();
        assert_eq!(app.event_error_count(), 1);
        assert_eq!((app.rows().await.len(), app.stored().await), (2, (2, 1)));
    })
    .await;
}

/// The same for a command that needs neither transaction nor unit: what follows it goes on without its caller.
#[tokio::test]
async fn g3_the_handlers_after_a_plain_command_outlive_its_caller() {
    bounded(async {
        let app = Harness::start().await;
        app.probe.close("crowd");
        tokio::select! {
            biased;
            _ = app.send(Crowd(2)) => panic!("it waits"),
            () = app.probe.arrived("crowd") => {}
        }
        app.probe.open("crowd");
        app.probe.arrived("crowd").await;
        app.probe.open("crowd");
        app.probe.noted("most 1", 2).await;
        app.settle().await;
    })
    .await;
}
