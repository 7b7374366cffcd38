//! What `#[saga]`, `#[saga_step]` and `#[compensation]` leave behind at link time.

use std::any::Any;
use std::time::Duration;

use super::limits::{LimitsItem, Rate};
use super::step::{ApplyFn, KeepFn, SagaContext, StepThunk};
use crate::message::{MessageSpec, SourceLocation};
use crate::registry::{HandlerItem, RetryOptions};

/// Reads the field by which a saga and an event find each other, of either, as JSON.
pub type FieldFn = fn(&(dyn Any + Send + Sync)) -> Option<Vec<u8>>;

/// The path of a type.
pub(crate) type TypePath = fn() -> &'static str;

/// What a step says about its way back.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum WayBack {
    /// Nothing: only behind a pivot, or as the pivot, that will do.
    Unsaid,
    /// `compensate = none`: there is nothing to undo.
    Nothing,
    /// `compensate = function`.
    By(&'static CompensationItem),
}

/// The event that a step waits for.
#[derive(Debug, Clone, Copy)]
pub struct AwaitsItem {
    /// The event.
    pub event: &'static MessageSpec,
    /// The field of the event.
    pub of_event: FieldFn,
    /// The field of the context.
    pub of_context: FieldFn,
    /// For how long at most.
    pub timeout: Option<Duration>,
    /// The consumer group, where it is not the saga's name.
    pub group: Option<&'static str>,
}

/// A step.
#[derive(Debug, Clone, Copy)]
pub struct StepItem {
    /// The name by which it is stored, where a saga gives it no other.
    pub(crate) name: &'static str,
    pub(crate) handler: HandlerItem,
    pub(crate) thunk: StepThunk,
    /// Makes a change of what it returned: of a step that may stand beside others.
    pub(crate) apply: Option<ApplyFn>,
    pub(crate) retry: RetryOptions,
    pub(crate) back: WayBack,
    pub(crate) is_pivot: bool,
    pub(crate) awaits: Option<AwaitsItem>,
    /// Its own error.
    pub(crate) error: TypePath,
    /// Writes that, where it can be written.
    pub(crate) keep: Option<KeepFn>,
    /// The change that it returns, where it may stand beside others.
    pub(crate) patch: Option<TypePath>,
}

impl StepItem {
    /// The same under another name than its function's.
    #[must_use]
    pub const fn named(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    /// The same whose error can be written, or not.
    #[must_use]
    pub const fn keeping(mut self, keep: Option<KeepFn>) -> Self {
        self.keep = keep;
        self
    }

    /// The same with what its attribute says besides.
    #[must_use]
    pub const fn with(
        mut self,
        retry: RetryOptions,
        back: WayBack,
        is_pivot: bool,
        awaits: Option<AwaitsItem>,
    ) -> Self {
        (self.retry, self.back, self.is_pivot, self.awaits) = (retry, back, is_pivot, awaits);
        self
    }
}

/// A compensation.
#[derive(Debug, Clone, Copy)]
pub struct CompensationItem {
    pub(crate) handler: HandlerItem,
    pub(crate) thunk: StepThunk,
    pub(crate) retry: RetryOptions,
    /// Its own error.
    pub(crate) error: TypePath,
}

/// A step under the name by which it is stored.
#[derive(Debug, Clone, Copy)]
pub struct NamedStep {
    /// The name, unique in the saga.
    pub name: &'static str,
    /// The step.
    pub item: &'static StepItem,
    /// What keeps the event that it waits for.
    pub(crate) keeper: Option<HandlerItem>,
}

/// A place in the list of steps.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::large_enum_variant, reason = "they are constants, written once and read in place")]
pub enum PlaceItem {
    /// One step.
    One(NamedStep),
    /// Steps side by side.
    Group(&'static [NamedStep]),
}

impl PlaceItem {
    /// Its steps.
    pub(crate) const fn steps(&self) -> &[NamedStep] {
        match self {
            Self::One(step) => std::slice::from_ref(step),
            Self::Group(steps) => steps,
        }
    }
}

/// A saga.
#[derive(Debug, Clone, Copy)]
pub struct SagaItem {
    pub(crate) context: &'static MessageSpec,
    pub(crate) places: &'static [PlaceItem],
    pub(crate) limits: LimitsItem,
}

impl SagaItem {
    /// A saga over a context, whose stored name and version are the saga's.
    pub const fn of<C: SagaContext>(places: &'static [PlaceItem]) -> Self {
        Self { context: C::SPEC, places, limits: LimitsItem::NONE }
    }

    /// The same of which one process goes on with so many at once.
    #[must_use]
    pub const fn at_once(mut self, most: u32) -> Self {
        self.limits.concurrency = Some(most as usize);
        self
    }

    /// The same of which one process takes on so many in a time.
    #[must_use]
    pub const fn at_rate(mut self, count: u32, per: Duration) -> Self {
        self.limits.rate = Some(Rate { count: count as usize, per });
        self
    }

    /// Where it was written.
    pub(crate) const fn location(&self) -> SourceLocation {
        self.context.location
    }

    /// Its steps, in their order.
    pub(crate) fn steps(&self) -> impl Iterator<Item = &'static NamedStep> + use<> {
        self.places.iter().flat_map(PlaceItem::steps)
    }

    /// What keeps the events that its steps wait for.
    pub(crate) fn keepers(&self) -> impl Iterator<Item = &'static HandlerItem> + use<> {
        self.steps().filter_map(|step| step.keeper.as_ref())
    }

    /// What it calls: steps, compensations, and the fallbacks of both.
    pub(crate) fn functions(&self) -> impl Iterator<Item = &'static HandlerItem> + use<> {
        self.steps().flat_map(|step| {
            let back = match step.item.back {
                WayBack::By(compensation) => Some(&compensation.handler),
                WayBack::Unsaid | WayBack::Nothing => None,
            };
            [Some(&step.item.handler), step.item.handler.fallback, back].into_iter().flatten()
        })
    }
}

inventory::collect!(SagaItem);
