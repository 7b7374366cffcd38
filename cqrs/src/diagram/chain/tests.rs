//! Chains that no source could spell, and those that wiring would refuse: each is drawn as valid Mermaid.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::breaker::BreakerOptions;
use crate::diagram::{ChainDiagram, real};
use crate::message::{Handled, Message, SourceLocation};
use crate::policy::Policy;
use crate::registry::{ChainItem, HandlerItem, HandlerKind, Need, RetryOptions, Thunk};

#[derive(crate::Command)]
#[command(crate = crate)]
struct Pay;

/// For the other tests of this program: every app of theirs would want a handler for the command.
#[crate::command_handler(crate = crate)]
async fn pay(_cmd: Pay) {}

fn leaked<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

fn function(kind: HandlerKind, name: &str, needs: &[Need]) -> HandlerItem {
    let location = SourceLocation { module: "shop", file: "shop.rs", line: 1 };
    HandlerItem::part(kind, String::leak(name.to_owned()), location, Pay::SPEC, needs.to_vec().leak(), Thunk::Part)
}

fn link(name: &str, needs: &[Need]) -> &'static HandlerItem {
    leaked(function(HandlerKind::Link, name, needs))
}

fn chain(links: &[&'static HandlerItem]) -> ChainDiagram {
    let chain = leaked(ChainItem::new::<Pay>(function(HandlerKind::Chain, "Pay", &[]), Vec::new));
    ChainDiagram { links: links.to_vec(), ..ChainDiagram::new(chain, Arc::new(BTreeMap::new())) }
}

fn read(chain: &ChainDiagram) -> [serde_json::Value; 2] {
    real::read(&[chain.sequence(), chain.class()]).try_into().unwrap()
}

#[test]
fn a_chain_of_no_link_is_exhausted_at_once() {
    let [sequence, class] = read(&chain(&[]));
    let events = sequence["events"].as_array().unwrap();
    assert_eq!(events.len(), 3, "the call, the note, the end: {events:?}");
    assert_eq!(events[2]["text"], "ChainExhausted, every link has passed");
    assert_eq!(class["classes"].as_array().unwrap().len(), 2);
}

#[test]
fn a_link_listed_twice_is_one_participant_asked_twice() {
    let twice = link("by_card", &[]);
    let [sequence, class] = read(&chain(&[twice, twice]));
    assert_eq!(sequence["participants"].as_array().unwrap().len(), 3);
    let asked = sequence["events"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["what"] == "SOLID" && event["to"] == "p3")
        .count();
    assert_eq!(asked, 2);
    assert_eq!(class["classes"].as_array().unwrap().len(), 3);
}

#[test]
fn names_that_only_a_macro_could_make_are_read_as_they_are() {
    let policy = leaked(Policy {
        timeout: Some(Duration::MAX),
        retry: Some(RetryOptions::new(Some(u32::MAX), Some(Duration::ZERO), Some(f64::NAN), Some(Duration::MAX))),
        breaker: Some(BreakerOptions::new(Some(0), Some(Duration::ZERO), None, Some("\"; end\n"))),
    });
    let fallback = leaked(function(HandlerKind::Fallback, "end; direction TB", &[]));
    let guarded = leaked(function(HandlerKind::Link, "<script>\n%%{init}%%", &[]).guarded(policy, Some(fallback)));
    let [sequence, class] = read(&chain(&[guarded]));
    assert_eq!(sequence["participants"][2]["label"], "<script> %%{init}%%");
    assert_eq!(sequence["participants"][3]["label"], "end; direction TB, a fallback");
    assert_eq!(class["classes"][2]["label"], "<script> %%{init}%%");
    assert_eq!(class["classes"][3]["label"], "end; direction TB");
    let member = class["classes"][2]["members"][0].as_str().unwrap();
    assert_eq!(member, "breaker \"; end opens after 0 failures in a row, for 0s");
}

#[test]
fn a_late_transaction_is_begun_when_it_is_asked_for() {
    let begin = Need::Begin { type_id: std::any::TypeId::of::<()>(), name: || "sqlx::Sqlite" };
    let tx = Need::Tx { type_id: std::any::TypeId::of::<()>(), name: || "sqlx::Sqlite" };
    let text = chain(&[link("first", &[Need::Events]), link("second", &[begin]), link("third", &[tx])]).sequence();
    assert!(text.contains("one transaction, Tx#60;Sqlite#62;, begun when second asks for it"), "{text}");
    let text = chain(&[link("first", &[Need::Events]), link("second", &[tx]), link("third", &[begin])]).sequence();
    assert!(text.contains("one transaction, Tx#60;Sqlite#62;, begun for second"), "{text}");
    let text = chain(&[link("first", &[Need::Events])]).sequence();
    assert!(!text.contains("transaction"), "{text}");
}

/// Mermaid draws texts of 50,000 characters.
#[test]
fn a_hundred_links_can_be_drawn() {
    let links: Vec<_> = (0..100).map(|number| link(&format!("by_way_number_{number}"), &[])).collect();
    let chain = chain(&links);
    for text in [chain.sequence(), chain.class()] {
        assert!(text.chars().count() < 50_000, "{}", text.chars().count());
    }
}

#[test]
fn what_a_chain_answers_is_the_messages() {
    fn names<M: Handled>(chain: &ChainDiagram) -> bool {
        chain.response() == "()" && chain.error() == "BoxError" && chain.message() == M::SPEC.type_name()
    }
    assert!(names::<Pay>(&chain(&[])));
}
