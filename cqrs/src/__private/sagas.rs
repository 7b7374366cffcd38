//! Sagas: the items that `#[saga]`, `#[saga_step]` and `#[compensation]` register.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::guarded::{Attempted, Backup, Counts, EveryError, HasPolicy, NoFallback};
use crate::BoxError;
use crate::dispatch::thunk::HandleLent;
use crate::message::SourceLocation;
use crate::registry::{HandlerItem, HandlerKind, Need, RetryOptions, Thunk};
pub use crate::saga::item::{AwaitsItem, CompensationItem, FieldFn, NamedStep, PlaceItem, SagaItem, StepItem, WayBack};
use crate::saga::step::{self, Apply, ApplyFn, StepThunk};
pub use crate::saga::step::{Compensation, Patches, SagaContext, SagaStep};

type FallbackItem = Option<&'static HandlerItem>;

const fn function<C: SagaContext>(
    kind: HandlerKind,
    name: &'static str,
    location: SourceLocation,
    needs: &'static [Need],
) -> HandlerItem {
    HandlerItem::part(kind, name, location, C::SPEC, needs, Thunk::Part)
}

const fn item(handler: HandlerItem, thunk: StepThunk, apply: Option<ApplyFn>) -> StepItem {
    StepItem { handler, thunk, apply, retry: RetryOptions::NONE, back: WayBack::Unsaid, is_pivot: false, awaits: None }
}

/// The item of a step that takes `&mut C`.
pub const fn step<H, J, B, C, O, How, Own>(
    name: &'static str,
    location: SourceLocation,
    needs: &'static [Need],
    fallback: FallbackItem,
) -> StepItem
where
    H: HandleLent<Message = C, Output = O> + HasPolicy,
    C: SagaContext,
    O: Attempted<(), BoxError, How, Own = Own>,
    J: Counts<Own>,
    B: Backup<C, Own, (), BoxError>,
{
    let handler = function::<C>(HandlerKind::Step, name, location, needs).guarded(&H::POLICY, fallback);
    item(handler, StepThunk(step::alone::<H, J, B, C, O, How>), None)
}

/// The item of a step that takes `&C`, and may stand beside others.
pub const fn member<H, J, B, C, O, P, How, Own>(
    name: &'static str,
    location: SourceLocation,
    needs: &'static [Need],
    fallback: FallbackItem,
) -> StepItem
where
    H: HandleLent<Message = C, Output = O> + HasPolicy,
    C: SagaContext + Apply<P>,
    P: Serialize + DeserializeOwned + Send,
    O: Patches<Patch = P> + Attempted<P, BoxError, How, Own = Own>,
    J: Counts<Own>,
    B: Backup<C, Own, P, BoxError>,
{
    let handler = function::<C>(HandlerKind::Step, name, location, needs).guarded(&H::POLICY, fallback);
    item(handler, StepThunk(step::beside::<H, J, B, C, O, How>), Some(ApplyFn(step::apply::<C, P>)))
}

/// The item of a compensation.
pub const fn compensation<H, C, O, How, Own>(
    name: &'static str,
    location: SourceLocation,
    needs: &'static [Need],
    retry: RetryOptions,
) -> CompensationItem
where
    H: HandleLent<Message = C, Output = O> + HasPolicy,
    C: SagaContext,
    O: Attempted<(), BoxError, How, Own = Own>,
    Own: 'static,
{
    let handler = function::<C>(HandlerKind::Compensation, name, location, needs).guarded(&H::POLICY, None);
    let thunk = StepThunk(step::alone::<H, EveryError, NoFallback, C, O, How>);
    CompensationItem { handler, thunk, retry }
}
