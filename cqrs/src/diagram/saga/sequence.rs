//! A saga's definition as a sequence diagram.

use std::ops::Range;

use humantime::format_duration;

use super::SagaDiagram;
use crate::diagram::is_same;
use crate::diagram::mermaid::{Arrow, Block, Frame, Participant, SequenceDiagram};
use crate::diagram::words::short;
use crate::message::MessageSpec;
use crate::registry::HandlerItem;
use crate::saga::item::{AwaitsItem, CompensationItem};

/// Who takes part: each step, each fallback and each event once. A compensation is part of its step's line.
struct Cast<'s> {
    whole: &'s SagaDiagram,
    caller: Participant,
    saga: Participant,
    steps: Vec<Participant>,
    fallbacks: Vec<(&'static HandlerItem, Participant)>,
    events: Vec<(&'static MessageSpec, Participant)>,
    last: Participant,
}

pub(super) fn draw(saga: &SagaDiagram) -> String {
    let mut diagram = SequenceDiagram::new();
    let cast = Cast::new(&mut diagram, saga);
    diagram.message(cast.caller, Arrow::Call, cast.saga, &saga.context_name());
    diagram.note(cast.saga, cast.last, &saga.promises());
    let places = saga.places();
    let turn = places.iter().position(|place| saga.pivot().is_some_and(|pivot| place.contains(&pivot)));
    let (before, beyond) = places.split_at(turn.map_or(places.len(), |turn| turn + 1));
    if before.is_empty() {
        cast.completed(&mut diagram);
        return diagram.into_text();
    }
    let [well, badly] = match saga.pivot() {
        Some(pivot) => {
            let name = saga.stored_name(pivot);
            [format!("each step ends well, up to {name}"), format!("one fails up to {name}, or somebody cancels")]
        }
        None => ["each step ends well".to_owned(), "one fails, or somebody cancels".to_owned()],
    };
    diagram.frame(Frame::Alt, &[well, badly], |diagram, part| {
        if part == 0 {
            for place in before {
                cast.place(diagram, place.clone());
            }
            cast.beyond(diagram, beyond);
        } else {
            cast.back(diagram);
        }
    });
    diagram.into_text()
}

impl<'s> Cast<'s> {
    fn new(diagram: &mut SequenceDiagram, whole: &'s SagaDiagram) -> Self {
        let caller = diagram.actor("caller");
        let saga = diagram.participant(&format!("saga {}, version {}", whole.name(), whole.version()));
        let (steps, fallbacks, events) = (Vec::new(), Vec::new(), Vec::new());
        let mut cast = Self { whole, caller, saga, steps, fallbacks, events, last: saga };
        for (step, planned) in whole.plan.steps.iter().enumerate() {
            cast.last = diagram.participant(&whole.label(step));
            cast.steps.push(cast.last);
            if let Some(fallback) = planned.item.handler.fallback
                && cast.fallback(fallback).is_none()
            {
                cast.last = diagram.participant(&format!("{}, a fallback", fallback.name));
                cast.fallbacks.push((fallback, cast.last));
            }
        }
        for awaits in whole.plan.steps.iter().filter_map(|step| step.item.awaits) {
            if cast.event(awaits.event).is_none() {
                cast.last = diagram.participant(&format!("{}, an event", short(awaits.event.type_name())));
                cast.events.push((awaits.event, cast.last));
            }
        }
        cast
    }

    fn fallback(&self, item: &HandlerItem) -> Option<Participant> {
        self.fallbacks.iter().find(|(known, _)| is_same(known, item)).map(|(_, participant)| *participant)
    }

    fn event(&self, event: &MessageSpec) -> Option<Participant> {
        self.events.iter().find(|(known, _)| known.type_id == event.type_id).map(|(_, participant)| *participant)
    }

    /// A step, or several side by side.
    fn place(&self, diagram: &mut SequenceDiagram, place: Range<usize>) {
        if place.len() < 2 {
            for step in place {
                self.step(diagram, step);
            }
            return;
        }
        let names: Vec<&str> = place.clone().map(|step| self.whole.stored_name(step)).collect();
        diagram.frame(Frame::Par, &names, |diagram, part| self.step(diagram, place.start + part));
        let last = self.steps[place.end - 1];
        let changes = place.clone().any(|step| self.whole.change(step).is_some());
        let changes = changes.then_some("what they return changes the context when all have ended");
        let lines: Vec<&str> = std::iter::once("one that fails lets the others end").chain(changes).collect();
        diagram.note(self.saga, last, &lines);
    }

    /// One step: it waits, is tried, replaced, and done.
    fn step(&self, diagram: &mut SequenceDiagram, step: usize) {
        let (whole, function) = (self.whole, self.steps[step]);
        if let Some(awaits) = &whole.plan.steps[step].item.awaits {
            self.wait(diagram, function, awaits);
        }
        let surroundings = whole.surroundings(step);
        if !surroundings.lines.is_empty() {
            diagram.note(function, function, &surroundings.lines);
        }
        again(diagram, surroundings.attempts, |diagram| {
            diagram.message(self.saga, Arrow::Call, function, &whole.given(step));
            if let Some(fallback) = whole.function(step).fallback {
                self.fall_back(diagram, step, fallback, surroundings.failures);
            }
        });
        diagram.message(function, Arrow::Reply, self.saga, &whole.change(step).unwrap_or_else(|| "done".to_owned()));
        if whole.pivot() == Some(step) {
            diagram.note(function, function, &["the pivot, from here on it only goes forward"]);
        }
    }

    fn wait(&self, diagram: &mut SequenceDiagram, step: Participant, awaits: &AwaitsItem) {
        let name = short(awaits.event.type_name());
        let most = awaits.timeout.map(|most| format!("fails after {} without it", format_duration(most)));
        let lines: Vec<String> = std::iter::once(format!("waits for {name}")).chain(most).collect();
        diagram.note(step, step, &lines);
        diagram.message(self.event(awaits.event).unwrap_or(self.caller), Arrow::Call, self.saga, &name);
    }

    fn fall_back(&self, diagram: &mut SequenceDiagram, step: usize, fallback: &'static HandlerItem, after: &str) {
        let (function, name) = (self.steps[step], self.whole.function(step).name);
        let second = self.fallback(fallback).unwrap_or(self.saga);
        diagram.block(Block::Opt, after, |diagram| {
            diagram.note(function, second, &[format!("what {name} changed, wrote or raised is undone")]);
            let given = format!("{} and the cause", self.whole.given(step));
            diagram.message(function, Arrow::Call, second, &given);
            diagram.message(second, Arrow::Reply, function, "what it does stands in");
        });
    }

    /// Behind the pivot, to the end.
    fn beyond(&self, diagram: &mut SequenceDiagram, places: &[Range<usize>]) {
        if places.is_empty() {
            return self.completed(diagram);
        }
        let texts = ["the rest ends well", "one of the rest has used up its attempts"];
        diagram.frame(Frame::Alt, &texts, |diagram, part| {
            if part == 0 {
                for place in places {
                    self.place(diagram, place.clone());
                }
                self.completed(diagram);
            } else {
                self.stuck(diagram);
            }
        });
    }

    /// From a failure to the end.
    fn back(&self, diagram: &mut SequenceDiagram) {
        for step in self.whole.reversible().rev() {
            if let Some(compensation) = self.whole.back(step) {
                self.undo(diagram, step, compensation);
            }
        }
        if !self.whole.can_go_back() {
            return self.compensated(diagram);
        }
        let texts = ["all of that is undone", "a compensation has used up its attempts, the others are made"];
        diagram.frame(Frame::Alt, &texts, |diagram, part| {
            if part == 0 {
                self.compensated(diagram);
            } else {
                self.stuck(diagram);
            }
        });
    }

    fn undo(&self, diagram: &mut SequenceDiagram, step: usize, compensation: &CompensationItem) {
        let (function, name) = (self.steps[step], self.whole.stored_name(step));
        // What is cut short within a transaction has not happened; of anything else nobody can tell.
        let doubt = if self.whole.plan.shape.steps[step].has_tx { "" } else { ", or may be" };
        diagram.block(Block::Opt, &format!("{name} is done{doubt}"), |diagram| {
            again(diagram, self.whole.plan.steps[step].undo_retry.max, |diagram| {
                diagram.message(self.saga, Arrow::Call, function, compensation.handler.name);
            });
            diagram.message(function, Arrow::Reply, self.saga, "undone");
        });
    }

    fn completed(&self, diagram: &mut SequenceDiagram) {
        diagram.message(self.saga, Arrow::Reply, self.caller, &format!("completed, {}", self.whole.context_name()));
    }

    fn compensated(&self, diagram: &mut SequenceDiagram) {
        diagram.message(self.saga, Arrow::Failure, self.caller, "SagaError::Compensated");
    }

    fn stuck(&self, diagram: &mut SequenceDiagram) {
        diagram.message(self.saga, Arrow::Failure, self.caller, "SagaError::Stuck, until somebody resumes it");
    }
}

/// What is done once, or again after a failure.
fn again(diagram: &mut SequenceDiagram, most: u32, body: impl FnOnce(&mut SequenceDiagram)) {
    if most > 1 {
        diagram.block(Block::Loop, &format!("again after a failure, {most} attempts at most"), body);
    } else {
        body(diagram);
    }
}
