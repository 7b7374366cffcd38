//! G2, G5: what runs before what, for every kind of handler and for middleware; and how long a call took.

use std::sync::Mutex;
use std::time::Duration;

use cqrs::BoxError;
use cqrs::prelude::*;
use cqrs::sqlx;
use cqrs::testing::TestApp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::support::{self, Harness, Probe, bounded, message, publish};

#[derive(DomainEvent, Clone, Serialize, Deserialize)]
struct Lined;

#[derive(NotificationEvent, Clone, Serialize, Deserialize)]
#[event(name = "lined", topic = "lined")]
struct LinedV1;

// Written in an order that is none of those that count.

#[event_handler(inline, order = 2)]
async fn inline_last(_e: &Lined, probe: Inject<Probe>) {
    probe.note("inline 2");
}

#[event_handler(inline)]
async fn inline_second(_e: &Lined, probe: Inject<Probe>) {
    probe.note("inline 0");
}

#[event_handler(inline, order = -1)]
async fn inline_first(_e: &Lined, probe: Inject<Probe>) {
    probe.note("inline -1");
}

#[event_handler(durable, order = 2)]
async fn durable_last(_e: &Lined) {}

#[event_handler(durable)]
async fn durable_second(_e: &Lined) {}

#[event_handler(durable, order = -1)]
async fn durable_first(_e: &Lined) {}

#[event_handler(group = "lined", order = 2)]
async fn group_last(_e: LinedV1, probe: Inject<Probe>) {
    probe.note("group 2");
}

#[event_handler(group = "lined")]
async fn group_second(_e: LinedV1, probe: Inject<Probe>) {
    probe.note("group 0");
}

#[event_handler(group = "lined", order = -1)]
async fn group_first(_e: LinedV1, probe: Inject<Probe>) {
    // Had the others not to wait for it, they would come first.
    tokio::time::sleep(Duration::from_millis(20)).await;
    probe.note("group -1");
}

#[tokio::test]
async fn g2_order_counts_for_inline_durable_and_consumed_handlers() {
    bounded(async {
        let app = Harness::idle().await;
        app.publish(Lined).await.unwrap();
        assert_eq!(app.probe.log(), ["inline -1", "inline 0", "inline 2"]);
        let stored = sqlx::query_scalar::<_, String>("SELECT handler FROM cqrs_work ORDER BY seq");
        let stored = stored.fetch_all(&app.probe.pool()).await.unwrap();
        let names: Vec<_> = stored.iter().map(|path| path.rsplit(':').next().unwrap()).collect();
        assert_eq!(names, ["durable_first", "durable_second", "durable_last"]);

        let (app, broker) = Harness::with_broker(|builder| builder).await;
        let id = Uuid::now_v7();
        publish(&broker, id, message("lined", "lined", id, &serde_json::Value::Null)).await;
        app.settle().await;
        assert_eq!(app.probe.log(), ["group -1", "group 0", "group 2"]);
    })
    .await;
}

mod zebra {
    use cqrs::prelude::*;

    use super::Probe;

    #[middleware(order = 7, kinds = [query])]
    pub async fn in_zebra(_call: Call<'_>, next: Next<'_>, probe: Inject<Probe>) -> Outcome {
        probe.note("zebra");
        next.run().await
    }
}

#[middleware(order = 7, kinds = [query])]
async fn line_one(_call: Call<'_>, next: Next<'_>, probe: Inject<Probe>) -> Outcome {
    probe.note("line one");
    next.run().await
}

#[middleware(order = 7, kinds = [query])]
async fn a_line_two(_call: Call<'_>, next: Next<'_>, probe: Inject<Probe>) -> Outcome {
    probe.note("line two");
    next.run().await
}

mod ant {
    use cqrs::prelude::*;

    use super::Probe;

    #[middleware(order = 7, kinds = [query])]
    pub async fn in_ant(_call: Call<'_>, next: Next<'_>, probe: Inject<Probe>) -> Outcome {
        probe.note("ant");
        next.run().await
    }
}

/// How long the rest of a call took, as a middleware is told.
#[derive(Default)]
pub struct Took(Mutex<Vec<Duration>>);

#[provider]
fn took() -> Took {
    Took::default()
}

#[middleware(order = 1, kinds = [query])]
async fn outer_watch(_call: Call<'_>, next: Next<'_>, took: Inject<Took>) -> Outcome {
    let outcome = next.run().await;
    took.0.lock().unwrap().push(outcome.elapsed());
    outcome
}

#[middleware(order = 2, kinds = [query])]
async fn inner_watch(_call: Call<'_>, next: Next<'_>, took: Inject<Took>) -> Outcome {
    let outcome = next.run().await;
    took.0.lock().unwrap().push(outcome.elapsed());
    // The outer one's time, not the inner one's.
    tokio::time::sleep(Duration::from_millis(30)).await;
    outcome
}

#[derive(Query)]
#[query(error = BoxError)]
struct Wait {
    fails: bool,
}

#[query_handler]
async fn wait(q: &Wait, took: Inject<Took>) -> Result<(), BoxError> {
    took.0.lock().unwrap().clear();
    tokio::time::sleep(Duration::from_millis(50)).await;
    if q.fails { Err("failed".into()) } else { Ok(()) }
}

#[derive(Query)]
#[query(response = Vec<Duration>)]
struct HowLong;

#[query_handler]
async fn how_long(_q: HowLong, took: Inject<Took>) -> Vec<Duration> {
    took.0.lock().unwrap().clone()
}

async fn with(names: &'static [&'static str]) -> Harness {
    let probe = std::sync::Arc::new(Probe::default());
    let builder = support::with_middleware(&probe).retain_middlewares(|name| names.contains(&name));
    Harness { app: TestApp::new(builder).await.unwrap(), probe }
}

#[tokio::test]
async fn g2_middlewares_of_the_same_order_go_by_module_then_line() {
    bounded(async {
        let app = with(&["in_zebra", "line_one", "a_line_two", "in_ant"]).await;
        app.query(HowLong).await.unwrap();
        assert_eq!(app.probe.log(), ["line one", "line two", "ant", "zebra"]);
    })
    .await;
}

#[tokio::test]
async fn elapsed_is_how_long_the_rest_of_the_call_took() {
    bounded(async {
        let app = with(&["outer_watch", "inner_watch"]).await;
        for fails in [false, true] {
            let begun = std::time::Instant::now();
            assert_eq!(app.query(Wait { fails }).await.is_err(), fails);
            let whole = begun.elapsed();
            let took = app.query(HowLong).await.unwrap();
            let [inner, outer] = took[..] else { panic!("{took:?}") };
            assert!(inner >= Duration::from_millis(50), "the handler's time: {inner:?}");
            assert!(outer >= inner + Duration::from_millis(30), "and the inner one's own: {inner:?} {outer:?}");
            assert!(outer <= whole, "{outer:?} {whole:?}");
        }
    })
    .await;
}

/// A node of a tree whose handlers wait to be let on.
#[derive(DomainEvent)]
struct Step(&'static str);

#[derive(Command)]
struct Climb;

#[command_handler]
async fn climb(_cmd: Climb, events: &mut Events) {
    events.raise(Step("a"));
    events.raise(Step("b"));
}

#[event_handler]
async fn step(e: &Step, events: &mut Events, probe: Inject<Probe>) {
    probe.note(format!("begin {}", e.0));
    probe.pass(e.0).await;
    match e.0 {
        "a" => events.raise(Step("a1")),
        "b" => events.raise(Step("b1")),
        _ => {}
    }
    probe.note(format!("end {}", e.0));
}

/// One that waits holds back the next level, whatever else is done: the order is the same for every concurrency.
#[tokio::test]
async fn g5_a_level_begins_when_the_whole_one_before_has_ended() {
    bounded(async {
        let app = Harness::with(|builder| builder.event_concurrency(8)).await;
        app.probe.close("a");
        let (sent, ()) = tokio::join!(app.send(Climb), async {
            app.probe.arrived("a").await;
            app.probe.noted("end b", 1).await;
            // Given every chance to begin too early.
            for _ in 0..50 {
                tokio::task::yield_now().await;
            }
            assert_eq!(app.probe.log(), ["begin a", "begin b", "end b"]);
            app.probe.open("a");
        });
        sent.unwrap();
        assert_eq!(app.probe.log()[3..], ["end a", "begin a1", "end a1", "begin b1", "end b1"]);
    })
    .await;
}
