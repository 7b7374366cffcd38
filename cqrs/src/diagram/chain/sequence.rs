//! A chain as a sequence diagram.

use super::ChainDiagram;
use crate::diagram::is_same;
use crate::diagram::mermaid::{Arrow, Block, Participant, SequenceDiagram};
use crate::registry::HandlerItem;

/// Who takes part: each function once.
struct Cast {
    caller: Participant,
    chain: Participant,
    functions: Vec<(&'static HandlerItem, Participant)>,
}

impl Cast {
    fn new(diagram: &mut SequenceDiagram, chain: &ChainDiagram) -> Self {
        let caller = diagram.actor("caller");
        let middle = diagram.participant(&format!("chain of {}", chain.message_name()));
        let mut cast = Self { caller, chain: middle, functions: Vec::new() };
        for link in chain.links.iter().copied() {
            cast.enter(diagram, link, link.name);
            if let Some(fallback) = link.fallback {
                cast.enter(diagram, fallback, &format!("{}, a fallback", fallback.name));
            }
        }
        cast
    }

    fn enter(&mut self, diagram: &mut SequenceDiagram, item: &'static HandlerItem, label: &str) {
        if !self.functions.iter().any(|(known, _)| is_same(known, item)) {
            self.functions.push((item, diagram.participant(label)));
        }
    }

    /// Everything a chain names has entered; the chain stands in for what it does not name.
    fn of(&self, item: &HandlerItem) -> Participant {
        self.functions.iter().find(|(known, _)| is_same(known, item)).map_or(self.chain, |(_, function)| *function)
    }

    fn last(&self) -> Participant {
        self.functions.last().map_or(self.chain, |(_, function)| *function)
    }
}

pub(super) fn draw(chain: &ChainDiagram) -> String {
    let mut diagram = SequenceDiagram::new();
    let cast = Cast::new(&mut diagram, chain);
    diagram.message(cast.caller, Arrow::Call, cast.chain, &chain.message_name());
    diagram.note(cast.chain, cast.last(), &chain.promises());
    for link in chain.links.iter().copied() {
        ask(&mut diagram, chain, &cast, link);
    }
    diagram.message(cast.chain, Arrow::Failure, cast.caller, "ChainExhausted, every link has passed");
    diagram.into_text()
}

/// One link: it is asked, tried, replaced; then it ends the chain, or passes.
fn ask(diagram: &mut SequenceDiagram, chain: &ChainDiagram, cast: &Cast, link: &'static HandlerItem) {
    let function = cast.of(link);
    let surroundings = chain.surroundings(link);
    if !surroundings.lines.is_empty() {
        diagram.note(function, function, &surroundings.lines);
    }
    let message = chain.message_name();
    if surroundings.attempts > 1 {
        let most = format!("again after a failure, {} attempts at most", surroundings.attempts);
        diagram.block(Block::Loop, &most, |diagram| {
            diagram.message(cast.chain, Arrow::Call, function, &message);
        });
    } else {
        diagram.message(cast.chain, Arrow::Call, function, &message);
    }
    if let Some(fallback) = link.fallback {
        let second = cast.of(fallback);
        diagram.block(Block::Opt, surroundings.failures, |diagram| {
            diagram.note(function, second, &[format!("what {} wrote or raised is undone", link.name)]);
            diagram.message(function, Arrow::Call, second, &format!("{message} and the cause"));
            diagram.message(second, Arrow::Reply, function, "what it returns stands in");
        });
    }
    diagram.block(Block::Break, "it answers", |diagram| {
        diagram.message(function, Arrow::Reply, cast.chain, "Link::Answer");
        diagram.message(cast.chain, Arrow::Reply, cast.caller, &chain.response());
    });
    // What `on` leaves out asks no fallback, and a fallback may fail.
    let fails = if link.fallback.is_some() { "it fails, and nothing stands in" } else { surroundings.failures };
    diagram.block(Block::Break, fails, |diagram| {
        diagram.message(function, Arrow::Failure, cast.chain, "the chain ends");
        diagram.message(cast.chain, Arrow::Failure, cast.caller, &format!("{}{}", chain.error(), surroundings.told));
    });
    diagram.message(function, Arrow::Reply, cast.chain, "Link::Pass");
}
