//! A saga's definition as a class diagram.

use std::any::TypeId;

use humantime::format_duration;

use super::SagaDiagram;
use crate::diagram::is_same;
use crate::diagram::mermaid::{Class, ClassDiagram, Relation};
use crate::diagram::words::{Surroundings, error, parameters, retry, short};
use crate::message::MessageSpec;
use crate::registry::{HandlerItem, Need};
use crate::saga::item::{AwaitsItem, CompensationItem, WayBack};

/// What was drawn so far: functions, events and dependencies once each; a step for each of its names.
struct Drawn<'s> {
    saga: &'s SagaDiagram,
    diagram: ClassDiagram,
    functions: Vec<(&'static HandlerItem, Class)>,
    types: Vec<(TypeId, Class)>,
}

pub(super) fn draw(saga: &SagaDiagram) -> String {
    let mut drawn = Drawn { saga, diagram: ClassDiagram::new(), functions: Vec::new(), types: Vec::new() };
    let stored = [format!("stored as {}, version {}", saga.name(), saga.version())];
    let context = drawn.diagram.class("context", &saga.context_name(), &stored);
    let mut promises = saga.promises();
    promises.push("fails with SagaError, Compensated or Stuck".to_owned());
    let whole = drawn.diagram.class("saga", &format!("saga {}", saga.name()), &promises);
    drawn.diagram.relation(whole, Relation::Needs, context, "keeps");
    let mut before: Vec<Class> = Vec::new();
    for (place, number) in saga.places().into_iter().zip(1..) {
        let beside = if place.len() > 1 { ", side by side" } else { "" };
        let classes: Vec<Class> = place.map(|step| drawn.step(step)).collect();
        for class in &classes {
            drawn.diagram.relation(whole, Relation::Has, *class, &format!("step {number}{beside}"));
            for before in &before {
                drawn.diagram.relation(*before, Relation::LeadsTo, *class, "then");
            }
        }
        before = classes;
    }
    drawn.diagram.into_text()
}

impl Drawn<'_> {
    /// A step, with everything it leads to.
    fn step(&mut self, step: usize) -> Class {
        let (saga, item) = (self.saga, self.saga.plan.steps[step].item);
        let mut members = saga.surroundings(step).lines;
        members.extend(parameters(&item.handler).into_iter().map(|parameter| format!("takes {parameter}")));
        members.extend(saga.change(step).map(|change| format!("changes by {change}")));
        members.extend(error((item.error)()).map(|error| format!("fails with {error}")));
        if matches!(item.back, WayBack::Nothing) && saga.reversible().contains(&step) {
            members.push("nothing to undo".to_owned());
        }
        let kind = if item.is_pivot { "pivot" } else { "step" };
        let class = self.diagram.class(kind, &saga.label(step), &members);
        self.needs(class, &item.handler);
        if let Some(awaits) = &item.awaits {
            self.event(class, awaits);
        }
        if let Some(fallback) = item.handler.fallback {
            let fallback = self.fallback(fallback);
            self.diagram.relation(class, Relation::LeadsTo, fallback, "falls back to");
        }
        if let Some(back) = saga.back(step) {
            let back = self.compensation(step, back);
            self.diagram.relation(class, Relation::LeadsTo, back, "undone by");
        }
        class
    }

    fn fallback(&mut self, item: &'static HandlerItem) -> Class {
        self.function("fallback", item, Surroundings::of(item, &self.saga.breakers).lines)
    }

    fn compensation(&mut self, step: usize, item: &'static CompensationItem) -> Class {
        let retry = retry(self.saga.plan.steps[step].undo_retry);
        let fails = error((item.error)()).map(|error| format!("fails with {error}"));
        self.function("compensation", &item.handler, retry.into_iter().chain(fails).collect())
    }

    fn function(&mut self, kind: &str, item: &'static HandlerItem, mut members: Vec<String>) -> Class {
        if let Some((_, class)) = self.functions.iter().find(|(known, _)| is_same(known, item)) {
            return *class;
        }
        members.extend(parameters(item).into_iter().map(|parameter| format!("takes {parameter}")));
        let class = self.diagram.class(kind, item.name, &members);
        self.functions.push((item, class));
        self.needs(class, item);
        class
    }

    fn needs(&mut self, function: Class, item: &HandlerItem) {
        for need in item.needs {
            let Need::Inject { type_id, name } = need else { continue };
            let class = self.known(*type_id, "dependency", name(), &[]);
            self.diagram.relation(function, Relation::Needs, class, "Inject");
        }
    }

    fn event(&mut self, step: Class, awaits: &AwaitsItem) {
        let MessageSpec { name, type_id, .. } = awaits.event;
        let path = awaits.event.type_name();
        let members: Vec<String> = (short(path) != *name).then(|| format!("stored as {name}")).into_iter().collect();
        let class = self.known(*type_id, awaits.event.kind.as_str(), path, &members);
        let most = awaits.timeout.map_or_else(String::new, |most| format!(" at most {}", format_duration(most)));
        self.diagram.relation(step, Relation::Needs, class, &format!("waits{most} for"));
    }

    /// A type that others need.
    fn known(&mut self, id: TypeId, kind: &str, path: &str, members: &[String]) -> Class {
        if let Some((_, class)) = self.types.iter().find(|(known, _)| *known == id) {
            return *class;
        }
        let class = self.diagram.class(kind, &short(path), members);
        self.types.push((id, class));
        class
    }
}
