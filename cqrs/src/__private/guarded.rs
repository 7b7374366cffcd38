//! Handlers with a policy, and fallbacks: the items that attributes register.

use std::marker::PhantomData;

use super::handler::{AnyCommand, AnyQuery, Consumed, HandledHere};
use crate::BoxError;
use crate::dispatch::thunk::{self, HandleLent};
use crate::message::{Handled, Message, SourceLocation};
pub use crate::policy::{
    AnswersTo, Attempted, Backed, Backup, Counts, EveryError, Fails, Fallback, FitsCause, HasPolicy, Lent, NoFallback,
    Policy,
};
use crate::registry::{EventMode, GroupOptions, HandlerItem, HandlerKind, Need, Thunk, WholeThunk};
use crate::saga::step::SagaContext;

type FallbackItem = Option<&'static HandlerItem>;

/// The item of a command handler with a policy.
pub const fn guarded_command_handler<H, J, B, M, O, How, R, E, Own>(
    name: &'static str,
    location: SourceLocation,
    needs: &'static [Need],
    fallback: FallbackItem,
) -> HandlerItem
where
    H: HandleLent<Message = M, Output = O> + HasPolicy,
    M: AnyCommand + Handled<Response = R, Error = E>,
    O: Attempted<R, E, How, Own = Own>,
    J: Counts<Own>,
    B: Backup<M, Own, R, E>,
    R: Send,
{
    let thunk = &const { WholeThunk::<M>(thunk::guarded_call::<H, J, B, M, O, How>) };
    HandlerItem::call(HandlerKind::Command, name, location, M::SPEC, needs, thunk).guarded(&H::POLICY, fallback)
}

/// The item of a query handler with a policy.
pub const fn guarded_query_handler<H, J, B, M, O, How, R, E, Own>(
    name: &'static str,
    location: SourceLocation,
    needs: &'static [Need],
    fallback: FallbackItem,
) -> HandlerItem
where
    H: HandleLent<Message = M, Output = O> + HasPolicy,
    M: AnyQuery + Handled<Response = R, Error = E>,
    O: Attempted<R, E, How, Own = Own>,
    J: Counts<Own>,
    B: Backup<M, Own, R, E>,
    R: Send,
{
    let thunk = &const { WholeThunk::<M>(thunk::guarded_call::<H, J, B, M, O, How>) };
    HandlerItem::call(HandlerKind::Query, name, location, M::SPEC, needs, thunk).guarded(&H::POLICY, fallback)
}

/// The item of a plain, `inline` or `durable` event handler with a policy.
pub const fn guarded_domain_event_handler<H, J, B, E, O, How, Own>(
    mode: EventMode,
    name: &'static str,
    location: SourceLocation,
    order: i32,
    needs: &'static [Need],
    fallback: FallbackItem,
) -> HandlerItem
where
    H: HandleLent<Message = E, Output = O> + HasPolicy,
    E: HandledHere,
    O: Attempted<(), BoxError, How, Own = Own>,
    J: Counts<Own>,
    B: Backup<E, Own, (), BoxError>,
{
    let thunk = thunk::guarded_event::<H, J, B, E, O, How>;
    HandlerItem::event(mode, name, location, order, E::SPEC, needs, thunk).guarded(&H::POLICY, fallback)
}

/// The item of a `group` event handler with a policy.
pub const fn guarded_group_handler<H, J, B, E, O, How, Own>(
    options: GroupOptions,
    name: &'static str,
    location: SourceLocation,
    order: i32,
    needs: &'static [Need],
    fallback: FallbackItem,
) -> HandlerItem
where
    H: HandleLent<Message = E, Output = O> + HasPolicy,
    E: Consumed,
    O: Attempted<(), BoxError, How, Own = Own>,
    J: Counts<Own>,
    B: Backup<E, Own, (), BoxError>,
{
    let (mode, thunk) = (EventMode::Group(options), thunk::guarded_event::<H, J, B, E, O, How>);
    HandlerItem::event(mode, name, location, order, E::SPEC, needs, thunk).guarded(&H::POLICY, fallback)
}

/// The item of a fallback.
pub const fn fallback<M: Message>(name: &'static str, location: SourceLocation, needs: &'static [Need]) -> HandlerItem {
    HandlerItem::part(HandlerKind::Fallback, name, location, M::SPEC, needs, Thunk::Part)
}

/// What a fallback may take by `&mut`.
#[diagnostic::on_unimplemented(
    message = "a fallback cannot take `{Self}` as `&mut`",
    label = "not the context of a saga",
    note = "take `{Self}` to own the message, or `&{Self}` to look at it; `&mut` is for the context of a `#[saga]`"
)]
pub trait Changeable: SagaContext {}

#[diagnostic::do_not_recommend]
impl<C: SagaContext> Changeable for C {}

/// The item of a step's fallback that takes `&mut C`.
pub const fn fallback_mut<C: Changeable>(
    name: &'static str,
    location: SourceLocation,
    needs: &'static [Need],
) -> HandlerItem {
    fallback::<C>(name, location, needs)
}

/// What a fallback stands in for: it may take no more than that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StandsInFor {
    /// A command handler, or a link of its chain.
    Command,
    /// A query handler, or a link of its chain.
    Query,
    /// A plain event handler.
    PlainEvent,
    /// An event handler in a unit of work.
    Event,
    /// A step that has its context to itself.
    Step,
    /// A step that takes its context as `&`, and may stand beside others.
    Member,
}

/// The fallback of a handler, or of a link, of messages of type `M`.
///
/// # Panics
/// At compile time, where the fallback takes what the handler itself may not take.
// The compiler then blames the caller alone, which is the path in `fallback = ..`.
#[track_caller]
pub const fn fallback_of<F: Fallback<M>, M: Message>(stands_in_for: StandsInFor) -> FallbackItem {
    let message = F::ITEM.message;
    let event = matches!(stands_in_for, StandsInFor::PlainEvent | StandsInFor::Event);
    assert!(
        !(event && F::BY_VALUE && message.codec.duplicate.is_none()),
        "the fallback of an event handler takes its event by reference, or the event is `Clone`: it goes to several handlers"
    );
    assert!(
        !(F::BY_MUT && matches!(stands_in_for, StandsInFor::Member)),
        "this fallback takes its context as `&mut`, and its step as `&`: let it take `&` too, and return what is to change"
    );
    let (mut i, mut items) = (0, false);
    while i < F::ITEM.needs.len() {
        match F::ITEM.needs[i] {
            Need::Tx { .. } | Need::Begin { .. } => assert!(
                !matches!(stands_in_for, StandsInFor::Query | StandsInFor::PlainEvent),
                "this fallback takes a transaction, which its handler may not take: a query changes nothing, a plain event handler runs after the commit"
            ),
            Need::Events | Need::App => assert!(
                !matches!(stands_in_for, StandsInFor::Query),
                "this fallback takes `&mut Events` or `&App`, which a query handler may not take: a query changes nothing"
            ),
            Need::Items => items = true,
            Need::Inject { .. } | Need::Meta | Need::Cause | Need::StepKey | Need::Sagas | Need::Unknown => {}
        }
        i += 1;
    }
    assert!(items || !message.streaming, "the fallback of a streaming handler takes `&mut Items<T>`, its way out");
    Some(F::ITEM)
}

/// A message that a handler with a policy can be given again: after a failed attempt, or to its fallback.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be taken by value here: it is not `Clone`",
    label = "the message is needed again after a failed attempt",
    note = "take `&{Self}`, or annotate `{Self}` with `#[derive(Clone)]`"
)]
pub trait GivenAgain<Checked>: Sized {
    /// The message once more.
    fn given_again(&self) -> Self;
}

#[diagnostic::do_not_recommend]
impl<M: Message + Clone> GivenAgain<PhantomData<M::Checked>> for M {
    fn given_again(&self) -> Self {
        self.clone()
    }
}

/// What is no message has an error elsewhere.
#[diagnostic::do_not_recommend]
impl<M> GivenAgain<()> for M {
    fn given_again(&self) -> Self {
        unreachable!("the handler of what is no message does not compile")
    }
}
