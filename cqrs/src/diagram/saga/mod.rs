//! Sagas: what is defined, as a sequence and as classes, and what one of them did, as a timeline.

mod class;
mod sequence;
mod timeline;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

pub(crate) use self::timeline::Run;
use super::words::{Surroundings, short};
use crate::breaker::BreakerPolicy;
use crate::registry::HandlerItem;
use crate::saga::PlannedSaga;
use crate::saga::item::{CompensationItem, SagaItem, WayBack};

/// The diagrams of one saga's definition, as Mermaid texts.
///
/// See [`Diagrams::saga`](super::Diagrams::saga) for an example, and [`Sagas::timeline`](crate::Sagas::timeline) for what one saga really
/// did. A drawing program may refuse long texts: Mermaid itself takes 50,000 characters unless told otherwise, about a hundred steps.
#[derive(Debug, Clone)]
pub struct SagaDiagram {
    plan: Arc<PlannedSaga>,
    breakers: Arc<BTreeMap<String, BreakerPolicy>>,
}

impl SagaDiagram {
    pub(super) fn new(item: &'static SagaItem, breakers: Arc<BTreeMap<String, BreakerPolicy>>) -> Self {
        // What is drawn calls nothing: any number stands for a function.
        Self { plan: Arc::new(PlannedSaga::new(item, |_| Some(0))), breakers }
    }

    /// The stored name of the saga.
    pub fn name(&self) -> &'static str {
        self.plan.name()
    }

    /// Its version.
    pub fn version(&self) -> u32 {
        self.plan.version()
    }

    /// The path of the type that is its context.
    pub fn context(&self) -> &'static str {
        self.plan.item.context.type_name()
    }

    /// What happens to the saga: its steps in their order, side by side where they are; what each waits for, and what is tried before it
    /// counts as failed; the pivot; the way back from a failure, compensation by compensation; and what it ends with.
    pub fn sequence(&self) -> String {
        sequence::draw(self)
    }

    /// What the saga is made of: its context, its steps with their errors and changes, compensations and fallbacks, the events that it
    /// waits for, and the dependencies that they share.
    pub fn class(&self) -> String {
        class::draw(self)
    }

    /// The short name of the context.
    fn context_name(&self) -> String {
        short(self.context())
    }

    /// The place of each step or group, as a range of steps.
    fn places(&self) -> Vec<Range<usize>> {
        let ends = &self.plan.shape.places;
        let starts = std::iter::once(0).chain(ends.iter().copied());
        starts.zip(ends).map(|(start, end)| start..*end).collect()
    }

    fn pivot(&self) -> Option<usize> {
        self.plan.shape.steps.iter().position(|step| step.is_pivot)
    }

    fn stored_name(&self, step: usize) -> &'static str {
        self.plan.steps[step].name
    }

    fn function(&self, step: usize) -> &'static HandlerItem {
        &self.plan.steps[step].item.handler
    }

    /// What undoes a step. Behind the pivot nobody asks for it, whatever the step says.
    fn back(&self, step: usize) -> Option<&'static CompensationItem> {
        match self.plan.steps[step].item.back {
            WayBack::By(compensation) if self.reversible().contains(&step) => Some(compensation),
            _ => None,
        }
    }

    fn surroundings(&self, step: usize) -> Surroundings {
        Surroundings::stored(self.function(step), &self.breakers, self.plan.steps[step].retry)
    }

    /// A step by the name of its function, and by the name by which it is stored where that is another.
    fn label(&self, step: usize) -> String {
        let (name, function) = (self.stored_name(step), self.function(step).name);
        if name == function { function.to_owned() } else { format!("{name}, by {function}") }
    }

    /// What a step is given.
    fn given(&self, step: usize) -> String {
        let item = self.plan.steps[step].item;
        let change = if item.apply.is_none() { "&mut " } else { "&" };
        let event = item.awaits.map_or_else(String::new, |awaits| format!(", &{}", short(awaits.event.type_name())));
        format!("{change}{}{event}", self.context_name())
    }

    /// The change that a step returns.
    fn change(&self, step: usize) -> Option<String> {
        self.plan.steps[step].item.patch.map(|patch| short(patch())).filter(|patch| patch != "()")
    }

    /// What is said of the saga as a whole.
    fn promises(&self) -> Vec<String> {
        let mut lines = vec!["each step is a unit of work, stored with what it changed".to_owned()];
        if self.can_go_back() {
            lines.push("a step that fails leads back, what was done last is undone first".to_owned());
        }
        lines.extend(self.pivot().map(|pivot| format!("no way back once {} is done", self.stored_name(pivot))));
        lines
    }

    /// The steps that something may lead back from: those up to the pivot, and it.
    fn reversible(&self) -> Range<usize> {
        0..self.pivot().map_or(self.plan.steps.len(), |pivot| pivot + 1)
    }

    fn can_go_back(&self) -> bool {
        self.reversible().any(|step| self.back(step).is_some())
    }
}
