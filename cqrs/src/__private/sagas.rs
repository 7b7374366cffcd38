//! Sagas: the items that `#[saga]`, `#[saga_step]` and `#[compensation]` register.

use std::error::Error;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::codec::Shareable;
use super::guarded::{Backup, Counts, EveryError, HasPolicy, NoFallback};
use crate::BoxError;
use crate::dispatch::thunk::{Fallible, HandleLent, Plain};
use crate::message::SourceLocation;
use crate::registry::{HandlerItem, HandlerKind, Need, RetryOptions, Thunk};
use crate::saga::item::TypePath;
pub use crate::saga::item::{AwaitsItem, CompensationItem, FieldFn, NamedStep, PlaceItem, SagaItem, StepItem, WayBack};
pub use crate::saga::step::{ApplyFn, Change, Changes, Compensation, Ends, KeepFn, SagaContext, SagaStep, StepThunk};
use crate::saga::{keeper, step};

type FallbackItem = Option<&'static HandlerItem>;

const fn function<C: SagaContext>(
    kind: HandlerKind,
    name: &'static str,
    location: SourceLocation,
    needs: &'static [Need],
) -> HandlerItem {
    HandlerItem::part(kind, name, location, C::SPEC, needs, Thunk::Part)
}

const fn item<Own>(
    handler: HandlerItem,
    thunk: StepThunk,
    apply: Option<ApplyFn>,
    patch: Option<TypePath>,
) -> StepItem {
    let name = handler.name;
    StepItem {
        name,
        handler,
        thunk,
        apply,
        retry: RetryOptions::NONE,
        back: WayBack::Unsaid,
        is_pivot: false,
        awaits: None,
        error: std::any::type_name::<Own>,
        keep: None,
        patch,
    }
}

/// A type that can be the context of a saga.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the context of a saga: it cannot be stored",
    label = "needs `Serialize` and `Deserialize`",
    note = "consider annotating `{Self}` with `#[derive(Serialize, Deserialize)]`: it is stored between its steps"
)]
pub trait Keepable: Serialize + DeserializeOwned {}

#[diagnostic::do_not_recommend]
impl<C: Serialize + DeserializeOwned> Keepable for C {}

/// Checks the context of a saga where it is declared.
#[must_use]
pub const fn checked_context<C: Shareable + Keepable>() -> usize {
    0
}

/// Tells a change from a `Result` of one.
#[derive(Debug)]
pub struct Shape<O>(PhantomData<fn() -> O>);

/// The answer where it is no `Result`.
pub trait ShapeFallback {
    /// The change itself.
    const MEMBER: Member<Plain> = Member(PhantomData);
}

impl<O> ShapeFallback for Shape<O> {}

impl<P, E> Shape<Result<P, E>> {
    /// A `Result`.
    pub const MEMBER: Member<Fallible> = Member(PhantomData);
}

/// Tells whether the error of what a step returns can be written.
#[derive(Debug)]
pub struct Returned<O>(PhantomData<fn() -> O>);

/// The answer where it cannot.
pub trait ReturnedFallback {
    /// Its words alone are kept.
    const KEEP: Option<KeepFn> = None;
}

impl<O> ReturnedFallback for Returned<O> {}

impl<P, E: Serialize + Error + 'static> Returned<Result<P, E>> {
    /// It is kept as JSON.
    pub const KEEP: Option<KeepFn> = Some(KeepFn(step::keep::<E>));
}

/// A step that takes `&C`, and may stand beside others.
#[derive(Debug)]
pub struct Member<How>(PhantomData<fn() -> How>);

impl<How> Member<How> {
    /// Its item.
    pub const fn item<H, J, B, C, O, P, Own>(
        self,
        name: &'static str,
        location: SourceLocation,
        needs: &'static [Need],
        fallback: FallbackItem,
    ) -> StepItem
    where
        H: HandleLent<Message = C, Output = O> + HasPolicy,
        C: SagaContext,
        O: Changes<C, How, Error = Own, Patch = P>,
        P: Change,
        J: Counts<Own>,
        B: Backup<C, Own, P, BoxError>,
    {
        let handler = function::<C>(HandlerKind::Step, name, location, needs).guarded(&H::POLICY, fallback);
        let apply = Some(ApplyFn(step::apply::<C, O, P, How>));
        item::<Own>(handler, StepThunk(step::beside::<H, J, B, C, O, P, How>), apply, Some(std::any::type_name::<P>))
    }
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
    O: Ends<How, Error = Own>,
    J: Counts<Own>,
    B: Backup<C, Own, (), BoxError>,
{
    let handler = function::<C>(HandlerKind::Step, name, location, needs).guarded(&H::POLICY, fallback);
    item::<Own>(handler, StepThunk(step::alone::<H, J, B, C, O, How>), None, None)
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
    O: Ends<How, Error = Own>,
    Own: 'static,
{
    let handler = function::<C>(HandlerKind::Compensation, name, location, needs).guarded(&H::POLICY, None);
    let thunk = StepThunk(step::alone::<H, EveryError, NoFallback, C, O, How>);
    CompensationItem { handler, thunk, retry, error: std::any::type_name::<Own> }
}

/// The way back by a compensation.
#[must_use]
pub const fn back_by<K: Compensation<C>, C: SagaContext>() -> WayBack {
    WayBack::By(K::ITEM)
}

/// A step of a saga over `C`, under its own name. `keeper` is what keeps the event that it waits for, if it waits: stored rows name it.
#[must_use]
pub const fn step_of<S: SagaStep<C>, C: SagaContext>(keeper: &'static str) -> NamedStep {
    NamedStep { name: S::ITEM.name, item: S::ITEM, keeper: keeper::keeper::<S, C>(keeper) }
}

/// A step of a saga over `C`, under the name that the saga gives it.
#[must_use]
pub const fn step_as<S: SagaStep<C>, C: SagaContext>(name: &'static str, keeper: &'static str) -> NamedStep {
    NamedStep { name, item: S::ITEM, keeper: keeper::keeper::<S, C>(keeper) }
}

/// Checks what a step is to the others of its saga: the one at `index` of `place`.
///
/// # Panics
/// At compile time, where it cannot stand there.
#[track_caller]
// The compiler then blames the caller alone, which is the step in `steps = [..]`.
pub const fn step_at(places: &[PlaceItem], place: usize, index: usize) {
    let step = places[place].steps()[index];
    let before = Before::of(places, place, index, step.name);
    if let PlaceItem::Group(_) = places[place] {
        assert!(
            step.item.apply.is_some(),
            "this step takes its context as `&mut`, and stands beside others here: let it take `&`, and return what is to change"
        );
        assert!(!step.item.is_pivot, "a pivot stands by itself: take it out of the parentheses");
    }
    assert!(
        !before.has_name,
        "this saga has a step of this name already, and stores its progress by it: list it under another, `reserve as reserve_again`"
    );
    assert!(!(before.has_pivot && step.item.is_pivot), "this saga has a pivot already: say `pivot` of one step");
    assert!(
        before.has_pivot || step.item.is_pivot || !matches!(step.item.back, WayBack::Unsaid),
        "no pivot comes before this step, so its attribute says how it is undone: `compensate = release`, or `compensate = none` where there is nothing to undo"
    );
}

/// What stands before a step.
struct Before {
    has_pivot: bool,
    has_name: bool,
}

impl Before {
    const fn of(places: &[PlaceItem], place: usize, index: usize, name: &str) -> Self {
        let mut before = Self { has_pivot: false, has_name: false };
        let mut i = 0;
        while i <= place {
            let steps = places[i].steps();
            let mut j = 0;
            while j < steps.len() && !(i == place && j == index) {
                before.has_pivot |= steps[j].item.is_pivot;
                before.has_name |= is_same(steps[j].name, name);
                j += 1;
            }
            i += 1;
        }
        before
    }
}

const fn is_same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut i = 0;
    while i < one.len() && i < other.len() && one[i] == other[i] {
        i += 1;
    }
    i == one.len() && i == other.len()
}
