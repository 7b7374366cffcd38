//! Middleware of every kind of call.

use std::sync::Arc;

use cqrs::prelude::*;
use cqrs::testing::TestApp;
use cqrs::{BoxError, CallKind, DispatchErrorKind};
use serde::{Deserialize, Serialize};

use crate::support::{self, Harness, Probe, Refused, bounded};

#[middleware(order = 20)]
async fn inner_most(call: Call<'_>, next: Next<'_>, probe: Inject<Probe>) -> Outcome {
    probe.note(format!("> inner {} {}", call.kind(), call.name()));
    let outcome = next.run().await;
    probe.note("< inner");
    outcome
}

#[middleware(order = 10, kinds = [command, query, event])]
async fn outer_most(call: Call<'_>, next: Next<'_>, probe: Inject<Probe>) -> Outcome {
    probe.note(format!("> outer {}", call.name()));
    let outcome = next.run().await;
    let error = outcome.error().map(ToString::to_string);
    assert_eq!(outcome.is_ok(), error.is_none());
    let _: std::time::Duration = outcome.elapsed();
    probe.note(format!("< outer {error:?}"));
    outcome
}

/// Looks at the message without running the call, or with it.
#[middleware(order = 30, kinds = [command])]
async fn looks(call: Call<'_>, next: Next<'_>, probe: Inject<Probe>) -> Outcome {
    probe.note(call.debug());
    if let Some(Greet { name, .. }) = call.message() {
        let header = call.meta().header("user").map(str::to_owned);
        probe.note(format!("{name} {header:?} {}", call.kind() == CallKind::Command));
        if *name == "nobody" {
            return Outcome::reject(Refused("nobody".to_owned()));
        }
    }
    assert!(call.message::<Odd>().is_none() || call.name() == "Odd");
    let outcome = next.run().await;
    if probe.try_it("turn down").is_err() { Outcome::reject("turned down") } else { outcome }
}

#[middleware(order = 40, kinds = [command])]
async fn panics(_call: Call<'_>, next: Next<'_>, probe: Inject<Probe>) -> Outcome {
    assert!(probe.try_it("panic").is_ok(), "the middleware's panic");
    next.run().await
}

#[middleware(order = 50)]
async fn quiet(_call: Call<'_>, next: Next<'_>) -> Outcome {
    next.run().await
}

#[derive(Command, Debug, Clone)]
#[command(response = String, error = Refused)]
struct Greet {
    name: &'static str,
    fails: bool,
}

#[derive(DomainEvent, Debug, Clone, Serialize, Deserialize)]
struct Greeted;

#[command_handler]
async fn greet(cmd: Greet, events: &mut Events, probe: Inject<Probe>) -> Result<String, Refused> {
    probe.note("greet");
    events.raise(Greeted);
    if cmd.fails { Err(Refused(cmd.name.to_owned())) } else { Ok(format!("hello {}", cmd.name)) }
}

#[event_handler]
async fn greeted(_e: &Greeted, probe: Inject<Probe>) {
    probe.note("greeted");
}

/// Neither `Clone` nor `Debug`.
#[derive(Command)]
struct Odd;

#[command_handler]
async fn odd(_cmd: Odd) {}

#[derive(Query)]
#[query(item = u32)]
struct Numbers;

#[query_handler]
async fn numbers(_q: Numbers, items: &mut Items<u32>) {
    items.send(1).await;
    items.send(2).await;
}

async fn with(names: &'static [&'static str]) -> Harness {
    let probe = Arc::new(Probe::default());
    let builder = support::with_middleware(&probe).retain_middlewares(|name| names.contains(&name));
    Harness { app: TestApp::new(builder).await.unwrap(), probe }
}

/// In the reference middleware did not see events, streams and sagas (its weakness 40).
#[tokio::test]
async fn hole_40_the_lowest_order_is_outermost_and_events_are_calls_of_their_own() {
    bounded(async {
        let app = with(&["outer_most", "inner_most"]).await;
        assert_eq!(app.send(Greet { name: "ann", fails: false }).await.unwrap(), "hello ann");
        // Around the unit of work: what follows the commit is inside.
        assert_eq!(
            app.probe.log(),
            [
                "> outer Greet",
                "> inner command Greet",
                "greet",
                "> outer Greeted",
                "> inner event Greeted",
                "greeted",
                "< inner",
                "< outer None",
                "< inner",
                "< outer None",
            ]
        );
    })
    .await;
}

#[tokio::test]
async fn a_middleware_sees_the_error_and_the_caller_gets_it_unchanged() {
    bounded(async {
        let app = with(&["outer_most"]).await;
        let error = app.send(Greet { name: "ann", fails: true }).await.unwrap_err();
        assert_eq!(error.into_handler(), Some(Refused("ann".to_owned())));
        assert_eq!(app.probe.log(), ["> outer Greet", "greet", r#"< outer Some("refused: ann")"#]);
    })
    .await;
}

#[tokio::test]
async fn a_middleware_reads_the_message_its_debug_and_the_headers() {
    bounded(async {
        let app = with(&["looks"]).await;
        app.send(Greet { name: "ann", fails: false }).header("user", "u1").await.unwrap();
        assert_eq!(app.probe.log()[..2], [r#"Greet { name: "ann", fails: false }"#, r#"ann Some("u1") true"#]);
        let error = app.send(Odd).await.unwrap_err();
        assert_eq!(app.probe.log()[4..], ["Odd"]);
        let DispatchError::Rejected { message: "Odd", source } = &error else { panic!("{error:?}") };
        assert!(source.to_string().contains("derive `Clone` for"), "{source}");
    })
    .await;
}

#[tokio::test]
async fn rejecting_without_running_and_after_running() {
    bounded(async {
        let app = with(&["looks", "outer_most"]).await;
        let error = app.send(Greet { name: "nobody", fails: false }).await.unwrap_err();
        let DispatchError::Rejected { message: "Greet", source } = &error else { panic!("{error:?}") };
        assert_eq!(source.downcast_ref::<Refused>(), Some(&Refused("nobody".to_owned())));
        assert!(!app.probe.log().contains(&"greet".to_owned()));
        assert_eq!(app.probe.log().last().unwrap(), r#"< outer Some("refused: nobody")"#);
        app.probe.fail("turn down", 1);
        let error = app.send(Greet { name: "ann", fails: false }).await.unwrap_err();
        assert!(matches!(&error, DispatchError::Rejected { source, .. } if source.to_string() == "turned down"));
    })
    .await;
}

#[tokio::test]
async fn g3_a_panicking_middleware_fails_its_own_call() {
    bounded(async {
        let app = with(&["panics"]).await;
        app.probe.fail("panic", 1);
        let error = app.send(Greet { name: "ann", fails: false }).await.unwrap_err();
        let DispatchError::Panicked { handler: "panics", message } = &error else { panic!("{error:?}") };
        assert_eq!(message, "the middleware's panic");
        app.send(Greet { name: "ann", fails: false }).await.unwrap();

        let app = with(&["quiet", "outer_most", "panics"]).await;
        app.probe.fail("panic", 1);
        let error = app.send(Greet { name: "ann", fails: false }).await.unwrap_err();
        assert_eq!(error.name(), Some("panics"), "the one that panicked, not the outermost");
    })
    .await;
}

/// The same weakness 40: a stream passes through middleware, as one call.
#[tokio::test]
async fn hole_40_a_stream_is_one_call_and_only_of_its_own_kind() {
    bounded(async {
        let app = with(&["outer_most", "inner_most"]).await;
        let mut items = app.stream(Numbers);
        assert_eq!(items.next().await.unwrap().unwrap(), 1);
        assert_eq!(items.next().await.unwrap().unwrap(), 2);
        assert!(items.next().await.is_none());
        assert_eq!(app.probe.log(), ["> inner stream Numbers", "< inner"]);
        assert_eq!(app.send(Odd).await.map_err(|error| error.kind()), Ok(()));
    })
    .await;
}

#[derive(Command, Debug, Clone, Serialize, Deserialize)]
#[command(error = BoxError)]
struct LaterCall;

#[command_handler]
async fn later_call(_cmd: LaterCall, probe: Inject<Probe>) -> Result<(), BoxError> {
    probe.note("later");
    Ok(())
}

#[tokio::test]
async fn stored_work_passes_through_middleware_too() {
    bounded(async {
        let app = with(&["outer_most", "looks"]).await;
        app.schedule(LaterCall).await.unwrap();
        app.settle().await;
        assert_eq!(app.probe.log(), ["> outer LaterCall", "LaterCall", "later", "< outer None"]);
    })
    .await;
}

#[tokio::test]
async fn a_query_and_a_timeout_behind_middleware() {
    bounded(async {
        let app = with(&["outer_most"]).await;
        app.probe.close("wait");
        let error = app.send(Wait).timeout(std::time::Duration::from_millis(50)).await.unwrap_err();
        assert_eq!(error.kind(), DispatchErrorKind::Timeout);
        assert!(app.probe.log().last().unwrap().contains("took longer than 50ms"), "{:?}", app.probe.log());
        assert_eq!(app.query(Two).await.unwrap(), 2);
        assert_eq!(app.probe.log().last().unwrap(), "< outer None");
    })
    .await;
}

#[derive(Command)]
struct Wait;

#[command_handler]
async fn wait(_cmd: Wait, probe: Inject<Probe>) {
    probe.pass("wait").await;
}

#[derive(Query)]
#[query(response = u32)]
struct Two;

#[query_handler]
async fn two(_q: Two) -> u32 {
    2
}
