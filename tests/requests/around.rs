//! Middleware and layers are outside of whatever a policy does: one entry and one exit a call, however often its handler is
//! tried, whoever answers in the end.

use std::sync::Arc;

use cqrs::prelude::*;
use cqrs::sqlx::Sqlite;
use cqrs::testing::TestApp;
use cqrs::tower::around;
use cqrs::{BoxError, CallKind};
use serde::{Deserialize, Serialize};

use crate::layers::places::Noting;
use crate::support::{Harness, Probe, Refused, bounded, with_middleware, write};

#[middleware(order = 7)]
async fn counts_calls(call: Call<'_>, next: Next<'_>, probe: Inject<Probe>) -> Outcome {
    probe.note(format!("> {} {}", call.kind(), call.name()));
    let outcome = next.run().await;
    probe.note(format!("< {}", outcome.error().map_or_else(|| "ok".to_owned(), ToString::to_string)));
    outcome
}

/// An app in which `counts_calls` alone is left, with a layer around it.
async fn counted(run: impl IntoIterator<Item = &'static str>) -> Harness {
    let probe = Arc::new(Probe::default());
    let kinds = [CallKind::Command, CallKind::Query, CallKind::Stream, CallKind::Event];
    let builder = with_middleware(&probe)
        .retain_middlewares(|name| name == "counts_calls")
        .layer(around(kinds, Noting("layer", Arc::clone(&probe))).order(1));
    Harness { app: TestApp::new(builder.run(run)).await.unwrap(), probe }
}

/// What a call of `call` notes, `inside` being what its handlers do.
fn once(call: &str, inside: &[&str], outcome: &str) -> Vec<String> {
    let before = [format!("layer > {call} of nobody"), format!("> {call}")];
    let after = [format!("< {outcome}"), format!("layer < {outcome}")];
    before.into_iter().chain(inside.iter().map(ToString::to_string)).chain(after).collect()
}

#[derive(Command, Clone)]
#[command(response = &'static str, error = BoxError)]
pub struct Steady {
    fails: u32,
    hangs: bool,
}

#[command_handler(retry(max = 3, first = "1ms"), timeout = "250ms")]
async fn steady(cmd: Steady, tx: &mut Tx<Sqlite>, probe: Inject<Probe>) -> Result<&'static str, BoxError> {
    let number = probe.count("steady") + 1;
    probe.note("steady");
    write(tx, format!("steady {number}")).await?;
    if cmd.hangs {
        std::future::pending::<()>().await;
    }
    if number <= cmd.fails as usize { Err(Refused("unsteady".to_owned()).into()) } else { Ok("steady") }
}

#[tokio::test]
async fn middleware_and_layers_are_passed_once_however_often_a_handler_is_tried() {
    bounded(async {
        let tried = ["steady"; 3];
        for (message, outcome) in [
            (Steady { fails: 2, hangs: false }, "ok"),
            (Steady { fails: 9, hangs: false }, "refused: unsteady"),
            (Steady { fails: 0, hangs: true }, "`steady` took longer than 250ms"),
        ] {
            let app = counted([]).await;
            let answer = app.send(message).await;
            assert_eq!(answer.map_or_else(|error| error.to_string(), |_| "ok".to_owned()), outcome);
            assert_eq!(app.probe.log(), once("command Steady", &tried, outcome));
        }
    })
    .await;
}

#[derive(Query)]
#[query(response = &'static str, error = BoxError)]
pub struct Advice {
    fallback_fails: bool,
}

#[query_handler(fallback = second_advice, retry(max = 2, first = "1ms"))]
async fn advice(_q: &Advice, probe: Inject<Probe>) -> Result<&'static str, Refused> {
    probe.note("first");
    Err(Refused("first".to_owned()))
}

#[fallback]
async fn second_advice(q: &Advice, probe: Inject<Probe>) -> Result<&'static str, BoxError> {
    probe.note("second");
    if q.fallback_fails { Err(Refused("second".to_owned()).into()) } else { Ok("second") }
}

#[tokio::test]
async fn middleware_and_layers_are_around_a_handler_and_its_fallback_together() {
    bounded(async {
        let inside = ["first", "first", "second"];
        let app = counted([]).await;
        assert_eq!(app.query(Advice { fallback_fails: false }).await.unwrap(), "second");
        assert_eq!(app.probe.log(), once("query Advice", &inside, "ok"));
        let app = counted([]).await;
        app.query(Advice { fallback_fails: true }).await.unwrap_err();
        assert_eq!(app.probe.log(), once("query Advice", &inside, "refused: second"));
    })
    .await;
}

#[derive(Command)]
#[command(item = u32, error = BoxError)]
pub struct Tell;

#[command_handler(fallback = tell_by_hand, retry(max = 2, first = "1ms"))]
async fn tell(_cmd: &Tell, _items: &mut Items<u32>, probe: Inject<Probe>) -> Result<(), Refused> {
    probe.note("tell");
    Err(Refused("tell".to_owned()))
}

#[fallback]
async fn tell_by_hand(_cmd: &Tell, items: &mut Items<u32>, probe: Inject<Probe>) {
    for number in 0..2 {
        probe.note("item");
        items.send(number).await;
    }
}

#[tokio::test]
async fn middleware_and_layers_are_around_the_whole_of_a_stream_that_falls_back() {
    bounded(async {
        let app = counted([]).await;
        let mut items = app.stream(Tell);
        while let Some(item) = items.next().await {
            item.unwrap();
        }
        assert_eq!(app.probe.log(), once("stream Tell", &["tell", "tell", "item", "item"], "ok"));
    })
    .await;
}

#[derive(Command, Clone)]
#[command(response = &'static str, error = BoxError)]
pub struct Deliver {
    by: &'static str,
}

#[chain_link]
async fn by_foot(cmd: Deliver, probe: Inject<Probe>) -> Link<Deliver> {
    probe.note("foot");
    if cmd.by == "foot" { Link::Answer("foot") } else { Link::Pass(cmd) }
}

#[chain_link(retry(max = 2, first = "1ms"), fallback = by_borrowed_bike)]
async fn by_bike(_cmd: &Deliver, probe: Inject<Probe>) -> Result<Link<Deliver>, Refused> {
    probe.note("bike");
    Err(Refused("flat".to_owned()))
}

#[fallback]
async fn by_borrowed_bike(cmd: &Deliver, probe: Inject<Probe>) -> Link<Deliver> {
    probe.note("borrowed bike");
    Link::Pass(cmd.clone())
}

#[chain_link]
async fn by_van(cmd: Deliver, probe: Inject<Probe>) -> Link<Deliver> {
    probe.note("van");
    if cmd.by == "van" { Link::Answer("van") } else { Link::Pass(cmd) }
}

cqrs::chain!(Deliver => [by_foot, by_bike, by_van]);

#[tokio::test]
async fn middleware_and_layers_are_around_a_chain_not_around_its_links() {
    bounded(async {
        let asked = ["foot", "bike", "bike", "borrowed bike", "van"];
        let app = counted([]).await;
        assert_eq!(app.send(Deliver { by: "van" }).await.unwrap(), "van");
        assert_eq!(app.probe.log(), once("command Deliver", &asked, "ok"));
        let app = counted([]).await;
        let error = app.send(Deliver { by: "nobody" }).await.unwrap_err();
        assert_eq!(app.probe.log(), once("command Deliver", &asked, &error.to_string()));
    })
    .await;
}

#[derive(DomainEvent, Serialize, Deserialize)]
pub struct Kept(u8);

#[event_handler(durable, fallback = keep_by_hand, retry(max = 3))]
async fn keep(_e: &Kept, probe: Inject<Probe>) -> Result<(), Refused> {
    probe.note("keep");
    Err(Refused("keep".to_owned()))
}

#[fallback]
async fn keep_by_hand(_e: &Kept, probe: Inject<Probe>) -> Result<(), Refused> {
    probe.note("keep by hand");
    probe.try_it("keep by hand")
}

/// Each attempt at stored work is a call of its own, handler and fallback together.
#[tokio::test]
async fn middleware_and_layers_are_passed_once_an_attempt_at_stored_work() {
    bounded(async {
        let app = counted(["work"]).await;
        app.probe.fail("keep by hand", 1);
        app.publish(Kept(1)).await.unwrap();
        app.settle().await;
        app.settle_an_hour_later().await;
        let attempt = |outcome| once("event Kept", &["keep", "keep by hand"], outcome);
        assert_eq!(app.probe.log(), [attempt("`keep`, a handler of `Kept`, failed"), attempt("ok")].concat());
    })
    .await;
}

#[derive(DomainEvent)]
pub struct Heard;

#[event_handler(fallback = hear_again, retry(max = 2, first = "1ms"))]
async fn hear(_e: &Heard, probe: Inject<Probe>) -> Result<(), Refused> {
    probe.note("hear");
    Err(Refused("hear".to_owned()))
}

#[fallback]
async fn hear_again(_e: &Heard, probe: Inject<Probe>) {
    probe.note("hear again");
}

#[tokio::test]
async fn middleware_and_layers_are_passed_once_by_a_plain_event_handler() {
    bounded(async {
        let app = counted([]).await;
        app.publish(Heard).await.unwrap();
        assert_eq!(app.probe.log(), once("event Heard", &["hear", "hear", "hear again"], "ok"));
    })
    .await;
}
