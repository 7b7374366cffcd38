//! Diagrams of chains: golden texts, each of which the real Mermaid reads as what it says.

use cqrs::diagram::{DiagramErrorKind, Diagrams};
use cqrs::prelude::*;
use cqrs::sqlx::Sqlite;
use cqrs::{BoxError, WiringProblem};
use serde_json::{Value, json};

use crate::support::{Harness, Refused, bounded};

#[path = "../mermaid/real.rs"]
mod real;

pub trait Ledger: Send + Sync {}

pub struct Rates<T>(std::marker::PhantomData<T>);

#[derive(Debug)]
pub struct Receipt;

/// A chain with one of everything.
#[derive(Command, Debug, Clone)]
#[command(name = "settle; <now> #1", response = Option<Receipt>, error = Refused)]
pub struct Settle(pub u32);

/// A passing link that takes no more than its message.
#[chain_link]
async fn by_voucher(cmd: Settle) -> Link<Settle> {
    if cmd.0 == 0 { Link::Answer(None) } else { Link::Pass(cmd) }
}

#[chain_link(
    fallback = by_hand,
    on = [Refused(why) if why == "down"],
    timeout = "1500ms",
    retry(max = 3, first = "20ms"),
    breaker(name = "bank; #1", failures = 2, open_for = "30s")
)]
async fn by_bank(
    cmd: &Settle,
    ledger: Inject<dyn Ledger>,
    rates: Inject<Rates<Option<u8>>>,
    tx: &mut Tx<Sqlite>,
    events: &mut Events,
) -> Result<Link<Settle>, Refused> {
    let _ = (ledger, rates, tx, events);
    Ok(Link::Pass(cmd.clone()))
}

#[fallback]
async fn by_hand(cmd: Settle, cause: Cause<Refused>, ledger: Inject<dyn Ledger>, meta: &Meta) -> Link<Settle> {
    let _ = (cause, ledger, meta);
    Link::Pass(cmd)
}

#[chain_link(breaker(name = "bank; #1"), fallback = by_hand)]
async fn by_transfer(cmd: &Settle, app: &App) -> Result<Link<Settle>, Refused> {
    let _ = app;
    Ok(Link::Pass(cmd.clone()))
}

#[chain_link(breaker(failures = 1, window = "1m", open_for = "5s"), retry(max = 2))]
async fn later(cmd: &Settle, begin: &mut Begin<Sqlite>) -> Result<Link<Settle>, Refused> {
    let _ = begin;
    Ok(Link::Pass(cmd.clone()))
}

cqrs::chain!(Settle => [by_voucher, by_bank, by_transfer, later]);

/// A query's chain, whose message has the name of another's type.
#[derive(Query)]
#[query(response = u64)]
pub struct Rate;

#[chain_link]
async fn from_cache(q: Rate) -> Link<Rate> {
    Link::Pass(q)
}

#[chain_link(timeout = "20ms")]
async fn from_disk(_q: &Rate) -> Result<Link<Rate>, BoxError> {
    Ok(Link::Answer(1))
}

cqrs::chain!(Rate => [from_cache, from_disk]);

mod elsewhere {
    use super::*;

    #[derive(Query)]
    #[query(response = u8)]
    pub struct Rate;

    #[chain_link]
    async fn a(q: Rate) -> Link<Rate> {
        Link::Pass(q)
    }

    #[chain_link]
    async fn b(_q: Rate) -> Link<Rate> {
        Link::Answer(1)
    }

    cqrs::chain!(Rate => [a, b]);
}

/// A handler by itself.
#[derive(Command)]
pub struct Alone;

#[command_handler]
async fn alone(_cmd: Alone) {}

/// A message that another service handles.
#[derive(Command)]
pub struct Remote;

/// What the handlers of this file need.
pub fn complete(builder: cqrs::Builder) -> cqrs::Builder {
    struct Paper;
    impl Ledger for Paper {}
    builder
        .provide_arc::<dyn Ledger>(std::sync::Arc::new(Paper))
        .provide(Rates::<Option<u8>>(std::marker::PhantomData))
        .elsewhere::<Remote>()
}

fn diagrams() -> Diagrams {
    cqrs::bootstrap!().diagram()
}

#[test]
fn a_chain_as_a_sequence() {
    let text = diagrams().chain::<Settle>().unwrap().sequence();
    assert_eq!(text, include_str!("diagrams/settle_sequence.mmd"), "{text}");
    let read = real::read(&[text]).remove(0);
    assert_eq!(
        labels(&read["participants"]),
        ["caller", "chain of Settle", "by_voucher", "by_bank", "by_hand, a fallback", "by_transfer", "later"]
    );
    let events: Vec<String> = read["events"].as_array().unwrap().iter().map(in_words).collect();
    assert_eq!(events.join("\n") + "\n", include_str!("diagrams/settle_events.txt"), "{}", events.join("\n"));
}

#[test]
fn a_chain_as_classes() {
    let text = diagrams().chain::<Settle>().unwrap().class();
    assert_eq!(text, include_str!("diagrams/settle_class.mmd"), "{text}");
    let read = real::read(&[text]).remove(0);
    assert_eq!(
        labels(&read["classes"]),
        [
            "Settle",
            "chain of Settle",
            "by_voucher",
            "by_bank",
            "dyn Ledger",
            "Rates<Option<u8>>",
            "by_hand",
            "by_transfer",
            "later"
        ]
    );
    assert_eq!(read["classes"][0]["members"], json!(["answers Option<Receipt>", "fails with Refused"]));
    let names = labels(&read["classes"]);
    let of = |id: &Value| names[id.as_str().unwrap()[1..].parse::<usize>().unwrap() - 1].clone();
    let relations: Vec<String> = read["relations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|relation| {
            format!("{} {} {}", of(&relation["from"]), relation["text"].as_str().unwrap(), of(&relation["to"]))
        })
        .collect();
    assert_eq!(
        relations,
        [
            "chain of Settle handles Settle",
            "chain of Settle link 1 by_voucher",
            "by_bank Inject dyn Ledger",
            "by_bank Inject Rates<Option<u8>>",
            "by_hand Inject dyn Ledger",
            "by_bank falls back to by_hand",
            "chain of Settle link 2 by_bank",
            "by_voucher passes to by_bank",
            "by_transfer falls back to by_hand",
            "chain of Settle link 3 by_transfer",
            "by_bank passes to by_transfer",
            "chain of Settle link 4 later",
            "by_transfer passes to later",
        ]
    );
}

#[test]
fn a_querys_chain_has_no_transaction_and_undoes_nothing() {
    let rate = diagrams().chain::<Rate>().unwrap();
    let texts = [rate.sequence(), rate.class()];
    assert_eq!(texts[0], include_str!("diagrams/rate_sequence.mmd"), "{}", texts[0]);
    real::read(&texts);
    for text in texts {
        assert!(!text.contains("transaction") && !text.contains("undo"), "{text}");
    }
}

/// Drawn before anything is connected, and by the app that came of it.
#[tokio::test]
async fn a_builder_draws_what_its_app_draws() {
    bounded(async {
        let harness = Harness::idle().await;
        let (before, after) = (diagrams(), harness.diagram());
        let texts = |diagrams: &Diagrams| -> Vec<String> {
            diagrams.chains().flat_map(|chain| [chain.sequence(), chain.class()]).collect()
        };
        assert_eq!(texts(&before), texts(&after));
    })
    .await;
}

/// What an attribute leaves out is drawn as the settings say it.
#[test]
fn breakers_are_drawn_with_the_numbers_of_the_settings() {
    let settings = Settings::from_toml("[breaker]\nfailures = 9\nopen_for = \"3m\"\nwindow = \"7s\"").unwrap();
    let text = cqrs::bootstrap!().settings(settings).diagram().chain::<Settle>().unwrap().class();
    assert!(text.contains("breaker bank#59; #35;1 opens after 2 failures within 7s, for 30s"), "{text}");
    assert!(text.contains("breaker opens after 1 failure within 1m, for 5s"), "its own numbers win: {text}");
}

/// Every chain of this program, whoever wrote it. The reference draws some that are not valid (its weakness 43).
#[test]
fn hole_43_every_chain_is_drawn_as_valid_mermaid() {
    let diagrams = diagrams();
    let messages: Vec<&str> = diagrams.chains().map(|chain| chain.message()).collect();
    for message in ["requests::chains::Pay", "requests::diagrams::Settle", "requests::diagrams::elsewhere::Rate"] {
        assert!(messages.contains(&message), "{messages:?}");
    }
    let texts: Vec<String> = diagrams.chains().flat_map(|chain| [chain.sequence(), chain.class()]).collect();
    for (read, kind) in real::read(&texts).iter().zip(["sequence", "classDiagram"].iter().cycle()) {
        assert_eq!(read["type"], *kind);
    }
}

/// What is wrong with the wiring is no reason not to look at it.
#[test]
fn a_wiring_with_problems_is_drawn_all_the_same() {
    let problems = cqrs::bootstrap!().check().unwrap_err();
    let about = |problem: &WiringProblem| problem.what.contains("Ledger");
    assert!(problems.problems().iter().any(about), "nobody provides it here: {problems}");
    let text = diagrams().chain::<Settle>().unwrap().class();
    assert!(text.contains("dyn Ledger"), "{text}");
}

#[test]
fn a_chain_is_found_by_each_of_its_names() {
    let diagrams = diagrams();
    let expected = diagrams.chain::<Settle>().unwrap().sequence();
    for name in ["Settle", "settle; <now> #1", "requests::diagrams::Settle"] {
        assert_eq!(diagrams.chain_named(name).unwrap().sequence(), expected, "{name}");
    }
    let error = diagrams.chain_named("Rate").unwrap_err();
    assert_eq!(error.kind(), DiagramErrorKind::AmbiguousName);
    assert_eq!(
        error.to_string(),
        "several messages are called `Rate`: say which by its path, `requests::diagrams::Rate`, `requests::diagrams::elsewhere::Rate`"
    );
    assert_eq!(diagrams.chain_named("requests::diagrams::elsewhere::Rate").unwrap().message(), elsewhere_path());
}

fn elsewhere_path() -> &'static str {
    std::any::type_name::<elsewhere::Rate>()
}

#[test]
fn what_has_no_chain_is_told_with_what_it_has() {
    let diagrams = diagrams();
    let error = diagrams.chain::<Alone>().unwrap_err();
    assert_eq!(error.kind(), DiagramErrorKind::NoChain);
    let text = error.to_string();
    assert!(
        text.starts_with("no chain handles the command `requests::diagrams::Alone`: it is handled by `alone` ("),
        "{text}"
    );
    assert!(text.contains("requests/diagrams.rs:"), "{text}");
    assert!(text.contains("cqrs::chain!(Alone => [alone, ..]);"), "{text}");
    assert_eq!(diagrams.chain_named("Alone").unwrap_err(), error, "by name the same");

    let error = diagrams.chain::<Remote>().unwrap_err();
    assert_eq!(error.kind(), DiagramErrorKind::NoChain);
    assert!(error.to_string().contains("bootstrap!(crates = [..])"), "{error}");

    let error = diagrams.chain_named("Setle").unwrap_err();
    assert_eq!(error.kind(), DiagramErrorKind::UnknownName);
    assert_eq!(error.to_string(), "no message is called `Setle`; did you mean `Settle`?");
    let error = diagrams.chain_named("").unwrap_err().to_string();
    assert!(error.contains("there are chains for") && error.contains("`Settle`"), "{error}");
}

fn labels(of: &Value) -> Vec<String> {
    of.as_array().unwrap().iter().map(|one| one["label"].as_str().unwrap().to_owned()).collect()
}

fn in_words(event: &Value) -> String {
    let words = ["what", "from", "to", "text"].map(|key| event[key].as_str().unwrap());
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}
