//! Diagrams of sagas as they are written: golden texts, each of which the real Mermaid reads as what it says.

use std::fmt;
use std::time::Duration;

use cqrs::diagram::{DiagramErrorKind, Diagrams};
use serde_json::Value;

use super::*;

#[path = "../mermaid/real.rs"]
mod real;

/// A saga with one of everything.
#[saga(
    name = "order; <now> #1",
    version = 3,
    steps = [hold, pay, (mail, print_bill), confirmed, deliver, (thank, book), hold as hold_again]
)]
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Order {
    order: u32,
    /// The step that fails.
    failing: String,
}

/// The version before.
mod before {
    use super::*;

    #[saga(name = "order; <now> #1", version = 2, steps = [deliver])]
    #[derive(Debug, Clone, Serialize, Deserialize)]
    pub(super) struct Order;

    #[saga_step(pivot)]
    async fn deliver(_cx: &mut Order) {}
}

#[derive(Debug)]
struct NoStock;

impl fmt::Display for NoStock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no stock; <none>\nat all")
    }
}

impl std::error::Error for NoStock {}

#[derive(DomainEvent, Debug, Clone, Serialize, Deserialize)]
#[event(name = "payment.came")]
struct PaymentCame {
    order_id: u32,
}

#[derive(Serialize, Deserialize)]
struct Mailed;

impl Apply<Mailed> for Order {
    fn apply(&mut self, Mailed: Mailed) {}
}

#[saga_step(compensate = let_go, retry(max = 3, first = "20ms"), timeout = "1500ms")]
async fn hold(cx: &mut Order, world: Inject<World>) -> Result<(), NoStock> {
    let _ = world;
    if cx.failing == "hold" { Err(NoStock) } else { Ok(()) }
}

#[compensation]
async fn let_go(_cx: &mut Order, world: Inject<World>) {
    let _ = world;
}

#[saga_step(
    compensate = pay_back,
    fallback = pay_later,
    on = [NoStock],
    breaker(name = "bank; #1", failures = 2, open_for = "30s")
)]
async fn pay(cx: &mut Order, key: StepKey) -> Result<(), NoStock> {
    let _ = (cx, key);
    Ok(())
}

#[fallback]
async fn pay_later(cx: &mut Order, cause: Cause<NoStock>, world: Inject<World>) -> Result<(), NoStock> {
    let _ = (cx, cause, world);
    Ok(())
}

#[compensation(retry(max = 2, first = "1ms"))]
async fn pay_back(cx: &Order, events: &mut Events) -> Result<(), BoxError> {
    let _ = (cx, events);
    Ok(())
}

#[saga_step(compensate = none)]
async fn mail(cx: &Order) -> Result<Mailed, BoxError> {
    if cx.failing == "mail" { Err("nobody lives there".into()) } else { Ok(Mailed) }
}

#[saga_step(compensate = none, name = "print")]
async fn print_bill(_cx: &Order) {}

#[saga_step(awaits = PaymentCame, by = (order, order_id), timeout = "15m", compensate = none)]
async fn confirmed(_cx: &mut Order, _came: &PaymentCame) {}

#[saga_step(pivot)]
async fn deliver(_cx: &mut Order, meta: &Meta) {
    let _ = meta;
}

#[saga_step]
async fn thank(_cx: &Order) {}

#[saga_step]
async fn book(_cx: &Order) {}

fn diagrams() -> Diagrams {
    cqrs::bootstrap!().diagram()
}

fn labels(of: &Value) -> Vec<String> {
    of.as_array().unwrap().iter().map(|one| one["label"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_saga_as_a_sequence() {
    let text = diagrams().saga::<Order>().sequence();
    assert_eq!(text, include_str!("diagrams/order_sequence.mmd"), "{text}");
    let read = real::read(&[text]).remove(0);
    assert_eq!(
        labels(&read["participants"]),
        [
            "caller",
            "saga order; <now> #1, version 3",
            "hold",
            "pay",
            "pay_later, a fallback",
            "mail",
            "print, by print_bill",
            "confirmed",
            "deliver",
            "thank",
            "book",
            "hold_again, by hold",
            "PaymentCame, an event",
        ]
    );
    let kinds: Vec<&str> =
        read["events"].as_array().unwrap().iter().map(|event| event["what"].as_str().unwrap()).collect();
    for [begin, next, end] in [["PAR_START", "PAR_AND", "PAR_END"], ["ALT_START", "ALT_ELSE", "ALT_END"]] {
        let count = |kind: &str| kinds.iter().filter(|known| **known == kind).count();
        assert!(count(begin) >= 2, "{kinds:?}");
        assert_eq!((count(begin), count(begin)), (count(next), count(end)), "{kinds:?}");
    }
}

#[test]
fn a_saga_as_classes() {
    let text = diagrams().saga::<Order>().class();
    assert_eq!(text, include_str!("diagrams/order_class.mmd"), "{text}");
    let read = real::read(&[text]).remove(0);
    let names = labels(&read["classes"]);
    assert_eq!(names[..2], ["Order", "saga order; <now> #1"]);
    for once in ["let_go", "pay_back", "pay_later", "PaymentCame", "World"] {
        assert_eq!(names.iter().filter(|name| *name == once).count(), 1, "{names:?}");
    }
}

/// Every saga of this program, whoever wrote it.
#[test]
fn every_saga_is_drawn_as_valid_mermaid() {
    let diagrams = diagrams();
    let names: Vec<(&str, u32)> = diagrams.sagas().map(|saga| (saga.name(), saga.version())).collect();
    assert!(names.is_sorted(), "{names:?}");
    for known in [("checkout", 2), ("parcel", 1), ("order; <now> #1", 2), ("order; <now> #1", 3)] {
        assert!(names.contains(&known), "{names:?}");
    }
    let texts: Vec<String> = diagrams.sagas().flat_map(|saga| [saga.sequence(), saga.class()]).collect();
    for (read, kind) in real::read(&texts).iter().zip(["sequence", "classDiagram"].iter().cycle()) {
        assert_eq!(read["type"], *kind);
    }
}

/// Drawn before anything is connected, and by the app that came of it.
#[tokio::test]
async fn a_builder_draws_what_its_app_draws() {
    let (app, _) = app(&[]).await;
    let texts = |diagrams: &Diagrams| -> Vec<String> {
        diagrams.sagas().flat_map(|saga| [saga.sequence(), saga.class()]).collect()
    };
    assert_eq!(texts(&diagrams()), texts(&app.diagram()));
}

#[test]
fn a_saga_is_found_by_its_names_and_its_version() {
    let diagrams = diagrams();
    let expected = diagrams.saga::<Checkout>().sequence();
    for name in ["checkout", "Checkout", "sagas::Checkout"] {
        assert_eq!(diagrams.saga_named(name).unwrap().sequence(), expected, "{name}");
    }
    assert_eq!(diagrams.saga_named("checkout").unwrap().context(), "sagas::Checkout");
    for version in [2, 3] {
        assert_eq!(diagrams.saga_version("order; <now> #1", version).unwrap().version(), version);
    }
    assert_eq!(diagrams.saga_named("sagas::diagrams::before::Order").unwrap().version(), 2);
    assert_eq!(diagrams.saga::<before::Order>().version(), 2);
}

#[test]
fn what_is_no_saga_is_told_with_what_there_is() {
    let diagrams = diagrams();
    let error = diagrams.saga_named("chekout").unwrap_err();
    assert_eq!(error.kind(), DiagramErrorKind::UnknownName);
    assert_eq!(error.to_string(), "no saga is called `chekout`; did you mean `checkout`?");
    let error = diagrams.saga_named("something else entirely").unwrap_err().to_string();
    assert!(error.contains("; there are `") && error.contains("`parcel`"), "{error}");
    let error = diagrams.saga_named("order; <now> #1").unwrap_err();
    assert_eq!(error.kind(), DiagramErrorKind::AmbiguousName);
    assert_eq!(
        error.to_string(),
        "several sagas are called `order; <now> #1`: say which by its stored name and version, there are `order; <now> #1` version 2, `order; <now> #1` version 3, or by the path of its context, `sagas::diagrams::before::Order`, `sagas::diagrams::Order`"
    );
    let error = diagrams.saga_version("checkout", 9).unwrap_err();
    assert_eq!(error.kind(), DiagramErrorKind::UnknownVersion);
    assert_eq!(
        error.to_string(),
        "this program has no version 9 of the saga `checkout`; there are `checkout` version 2"
    );
    assert_eq!(diagrams.saga_version("chekout", 2).unwrap_err().kind(), DiagramErrorKind::UnknownName);
}

/// What is read in a timeline, without its times.
async fn timeline(app: &TestApp, id: &str) -> Vec<String> {
    let text = app.sagas().timeline(id).await.unwrap().unwrap();
    let read = real::read(&[text]).remove(0);
    let without_times = |event: &Value| {
        let text = event["text"].as_str().unwrap();
        let (what, rest) = text.split_once(" at ").unwrap_or((text, ""));
        let error = rest.split_once(", ").map(|(_, error)| format!(", {error}")).unwrap_or_default();
        format!("{what}{error}")
    };
    read["events"].as_array().unwrap().iter().map(without_times).collect()
}

#[tokio::test]
async fn what_a_saga_really_did_is_drawn() {
    let (app, _) = app(&[]).await;
    let order = |failing: &str| Order { order: 7, failing: failing.to_owned() };
    app.saga(order("mail")).id("no mail").await.unwrap_err();
    let drawn = timeline(&app, "no mail").await;
    let back = "from here on it undoes what was done, the last first<br/>since mail failed";
    assert_eq!(drawn[..5], ["order; <now> #1, version 3,", "attempt 1", "done", "attempt 1", "done"]);
    assert!(drawn.contains(&"failed for good, nobody lives there".to_owned()), "{drawn:?}");
    assert_eq!(drawn[9..], [back, "undo, attempt 1", "undone", "undo, attempt 1", "undone", "compensated"]);

    app.saga(order("hold")).id("no stock").await.unwrap_err();
    let drawn = timeline(&app, "no stock").await;
    let failed = ["attempt 1", "failed, no stock; <none>"];
    assert_eq!(drawn[1..3], failed);
    assert!(drawn[3].starts_with("pause of "), "{drawn:?}");
    assert_eq!(drawn[7..9], ["attempt 3", "failed for good, no stock; <none>"]);

    app.saga(order("")).id("waits").start().await.unwrap();
    // It has waited since some milliseconds after its start.
    let is_waiting = |drawn: &[String]| drawn.iter().any(|line| line.starts_with("waits for payment.came, until +15m"));
    while !is_waiting(&timeline(&app, "waits").await) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(app.sagas().timeline("nobody").await.unwrap(), None);
}
