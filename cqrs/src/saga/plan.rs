//! Sagas as a running app uses them: their steps with the numbers of what they call, and the shape that the machine knows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::item::{AwaitsItem, NamedStep, SagaItem, StepItem, WayBack};
use super::limits::LimitsItem;
use super::machine::{Shape, Step};
use crate::registry::{HandlerItem, Need};
use crate::retry::RetryPolicy;
use crate::store::{SagaRow, SagaStep};

/// How often a step is called behind the pivot, where it does not say: there is no way back.
const BEYOND: u32 = 10;

/// A compensation is called three times: after a second, and two.
const UNDO: RetryPolicy = RetryPolicy { max: 3, ..RetryPolicy::STORED };

/// A step.
#[derive(Debug)]
pub(crate) struct PlannedStep {
    pub(crate) name: &'static str,
    pub(crate) item: &'static StepItem,
    /// The number of its function in the plan.
    pub(crate) handler: u32,
    /// That of its compensation.
    pub(crate) undo: Option<u32>,
    pub(crate) retry: RetryPolicy,
    pub(crate) undo_retry: RetryPolicy,
}

/// A saga.
#[derive(Debug)]
pub(crate) struct PlannedSaga {
    pub(crate) item: &'static SagaItem,
    pub(crate) shape: Shape,
    pub(crate) steps: Vec<PlannedStep>,
}

impl PlannedSaga {
    /// A saga, where `number_of` knows the numbers of functions.
    pub(crate) fn new(item: &'static SagaItem, number_of: impl Fn(&HandlerItem) -> Option<u32>) -> Self {
        let pivot = item.steps().position(|step| step.item.is_pivot);
        let mut saga = Self { item, shape: Shape { steps: Vec::new(), places: Vec::new() }, steps: Vec::new() };
        for place in item.places {
            for named in place.steps() {
                let is_beyond = pivot.is_some_and(|pivot| saga.steps.len() > pivot);
                saga.add(named, is_beyond, &number_of);
            }
            saga.shape.places.push(saga.steps.len());
        }
        saga
    }

    fn add(&mut self, named: &NamedStep, is_beyond: bool, number_of: &impl Fn(&HandlerItem) -> Option<u32>) {
        let item = named.item;
        let max = if is_beyond { BEYOND } else { 1 };
        let retry = RetryPolicy { max, ..RetryPolicy::STORED }.overlaid(item.retry);
        let back = match item.back {
            WayBack::By(compensation) => Some(compensation),
            WayBack::Unsaid | WayBack::Nothing => None,
        };
        let undo = back.and_then(|back| number_of(&back.handler));
        let undo_retry = back.map_or(UNDO, |back| UNDO.overlaid(back.retry));
        self.shape.steps.push(Step {
            attempts: retry.max,
            has_tx: has_tx(&item.handler),
            undo: undo.map(|_| undo_retry.max),
            is_pivot: item.is_pivot,
            awaits: item.awaits.is_some(),
        });
        let handler = number_of(&item.handler).unwrap_or(u32::MAX);
        self.steps.push(PlannedStep { name: named.name, item, handler, undo, retry, undo_retry });
    }

    pub(crate) fn name(&self) -> &'static str {
        self.item.context.name
    }

    pub(crate) fn version(&self) -> u32 {
        self.item.context.version
    }

    /// The number of a step, by the name by which it is stored.
    pub(crate) fn step(&self, name: &str) -> Option<usize> {
        self.steps.iter().position(|step| step.name == name)
    }
}

impl PlannedStep {
    /// Whether all that its function does is part of a transaction, or its compensation's.
    pub(crate) fn has_tx(&self, is_undo: bool) -> bool {
        match self.item.back {
            WayBack::By(compensation) if is_undo => has_tx(&compensation.handler),
            _ => has_tx(&self.item.handler),
        }
    }

    /// What it waits for.
    pub(crate) fn awaits(&self) -> Option<&'static AwaitsItem> {
        self.item.awaits.as_ref()
    }

    /// For how long it waits, at most.
    pub(crate) fn patience(&self) -> Option<Duration> {
        self.awaits()?.timeout
    }
}

/// Whether all that a function does is part of a transaction, its fallback's doing included.
fn has_tx(item: &HandlerItem) -> bool {
    let takes = |item: &HandlerItem| item.needs.iter().any(|need| matches!(need, Need::Tx { .. } | Need::Begin { .. }));
    takes(item) && item.fallback.is_none_or(takes)
}

/// Every saga of an app, by stored name and version.
#[derive(Debug, Default)]
pub(crate) struct PlannedSagas(BTreeMap<&'static str, BTreeMap<u32, Arc<PlannedSaga>>>);

impl PlannedSagas {
    pub(crate) fn new(sagas: impl IntoIterator<Item = PlannedSaga>) -> Self {
        let mut all = Self::default();
        for saga in sagas {
            all.0.entry(saga.name()).or_default().insert(saga.version(), Arc::new(saga));
        }
        all
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The saga of a stored name and version.
    pub(crate) fn get(&self, name: &str, version: u32) -> Option<&Arc<PlannedSaga>> {
        self.0.get(name)?.get(&version)
    }

    /// Puts the steps of a saga into the order of its definition, where this program has that.
    pub(crate) fn in_order(&self, row: &SagaRow, mut steps: Vec<SagaStep>) -> Vec<SagaStep> {
        if let Some(plan) = self.get(&row.name, row.version) {
            steps.sort_by_key(|step| plan.step(&step.step));
        }
        steps
    }

    /// Later versions that a saga of this one can go on as, as far as its context goes: the last first.
    pub(crate) fn successors(&self, name: &str, version: u32) -> impl Iterator<Item = &Arc<PlannedSaga>> {
        let later = self.0.get(name).into_iter().flat_map(BTreeMap::values).rev();
        later.filter(move |saga| saga.version() > version && saga.item.context.reads(version))
    }

    /// Every saga.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<PlannedSaga>> {
        self.0.values().flat_map(BTreeMap::values)
    }

    /// The limits of each saga: those of its last version are those of all.
    pub(crate) fn limits(&self) -> impl Iterator<Item = (&'static str, LimitsItem)> {
        let last = |(name, versions): (&&'static str, &BTreeMap<u32, Arc<PlannedSaga>>)| {
            versions.values().next_back().map(|saga| (*name, saga.item.limits))
        };
        self.0.iter().filter_map(last)
    }

    /// The versions of a saga that there are.
    pub(crate) fn versions(&self, name: &str) -> impl Iterator<Item = u32> {
        self.0.get(name).into_iter().flat_map(BTreeMap::keys).copied()
    }
}
