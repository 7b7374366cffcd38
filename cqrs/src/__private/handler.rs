//! Handlers: the items that attributes register, and what the parameters and the result of a function must be.

use std::future::Future;
use std::marker::PhantomData;

use super::guarded::GivenAgain;
use crate::BoxError;
use crate::dispatch::thunk;
pub use crate::dispatch::thunk::{Answer, EventAnswer, Fallible, Handle, HandleLent, HandleRef, Plain};
use crate::message::{DomainEvent, Handled, Message, NotificationEvent, SourceLocation};
use crate::registry::{CallThunk, EventMode, GroupOptions, HandlerItem, HandlerKind, Need, asked_for_twice};
use crate::unit::Param;
pub use crate::unit::{
    parameter, parameters, parameters0, parameters1, parameters2, parameters3, parameters4, parameters5,
};

/// A command, streaming or not.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a command",
    label = "the first parameter of a command handler is its command",
    note = "consider annotating `{Self}` with `#[derive(Command)]`; a query's handler is a `#[query_handler]`, an event's an `#[event_handler]`"
)]
pub trait AnyCommand: Handled {}

/// A query, streaming or not.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a query",
    label = "the first parameter of a query handler is its query",
    note = "consider annotating `{Self}` with `#[derive(Query)]`; a command's handler is a `#[command_handler]`, an event's an `#[event_handler]`"
)]
pub trait AnyQuery: Handled {}

/// The item of a command handler that takes `M`.
pub const fn command_handler<H, M, O, How, R, E>(
    name: &'static str,
    location: SourceLocation,
    needs: &'static [Need],
) -> HandlerItem
where
    H: Handle<Message = M, Output = O>,
    M: AnyCommand + Handled<Response = R, Error = E>,
    O: Answer<R, E, How>,
{
    let thunk = &const { CallThunk::<M>(thunk::call::<H, M, O, How>) };
    HandlerItem::call(HandlerKind::Command, name, location, M::SPEC, needs, thunk)
}

/// The item of a command handler that takes `&M`.
pub const fn command_handler_ref<H, M, O, How, R, E>(
    name: &'static str,
    location: SourceLocation,
    needs: &'static [Need],
) -> HandlerItem
where
    H: HandleRef<Message = M, Output = O>,
    M: AnyCommand + Handled<Response = R, Error = E>,
    O: Answer<R, E, How>,
{
    let thunk = &const { CallThunk::<M>(thunk::call_ref::<H, M, O, How>) };
    HandlerItem::call(HandlerKind::Command, name, location, M::SPEC, needs, thunk)
}

/// The item of a query handler that takes `M`.
pub const fn query_handler<H, M, O, How, R, E>(
    name: &'static str,
    location: SourceLocation,
    needs: &'static [Need],
) -> HandlerItem
where
    H: Handle<Message = M, Output = O>,
    M: AnyQuery + Handled<Response = R, Error = E>,
    O: Answer<R, E, How>,
{
    let thunk = &const { CallThunk::<M>(thunk::call::<H, M, O, How>) };
    HandlerItem::call(HandlerKind::Query, name, location, M::SPEC, needs, thunk)
}

/// The item of a query handler that takes `&M`.
pub const fn query_handler_ref<H, M, O, How, R, E>(
    name: &'static str,
    location: SourceLocation,
    needs: &'static [Need],
) -> HandlerItem
where
    H: HandleRef<Message = M, Output = O>,
    M: AnyQuery + Handled<Response = R, Error = E>,
    O: Answer<R, E, How>,
{
    let thunk = &const { CallThunk::<M>(thunk::call_ref::<H, M, O, How>) };
    HandlerItem::call(HandlerKind::Query, name, location, M::SPEC, needs, thunk)
}

/// What a plain, `inline` or `durable` event handler is for.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a domain event",
    label = "this handler is for domain events",
    note = "a notification event is consumed from its topic: `#[event_handler(group = \"..\")]`",
    note = "a type that is no event yet needs `#[derive(DomainEvent)]`"
)]
pub trait HandledHere: DomainEvent {}

#[diagnostic::do_not_recommend]
impl<E: DomainEvent> HandledHere for E {}

/// What a `group` event handler is for.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a notification event",
    label = "a handler with a `group` is for notification events",
    note = "a domain event is handled in this service: `#[event_handler]`, `#[event_handler(inline)]` or `#[event_handler(durable)]`",
    note = "a type that is no event yet needs `#[derive(NotificationEvent)]`"
)]
pub trait Consumed: NotificationEvent {}

#[diagnostic::do_not_recommend]
impl<E: NotificationEvent> Consumed for E {}

/// The item of a plain, `inline` or `durable` event handler.
pub const fn domain_event_handler<H, E, O>(
    mode: EventMode,
    name: &'static str,
    location: SourceLocation,
    order: i32,
    needs: &'static [Need],
) -> HandlerItem
where
    H: HandleRef<Message = E, Output = O>,
    E: HandledHere,
    O: EventAnswer,
{
    HandlerItem::event(mode, name, location, order, E::SPEC, needs, thunk::handle_ref::<H, E, O>)
}

/// The item of a `group` event handler that takes `E`.
pub const fn group_handler<H, E, O>(
    options: GroupOptions,
    name: &'static str,
    location: SourceLocation,
    order: i32,
    needs: &'static [Need],
) -> HandlerItem
where
    H: Handle<Message = E, Output = O>,
    E: Consumed,
    O: EventAnswer,
{
    HandlerItem::event(EventMode::Group(options), name, location, order, E::SPEC, needs, thunk::handle::<H, E, O>)
}

/// The item of a `group` event handler that takes `&E`.
pub const fn group_handler_ref<H, E, O>(
    options: GroupOptions,
    name: &'static str,
    location: SourceLocation,
    order: i32,
    needs: &'static [Need],
) -> HandlerItem
where
    H: HandleRef<Message = E, Output = O>,
    E: Consumed,
    O: EventAnswer,
{
    HandlerItem::event(EventMode::Group(options), name, location, order, E::SPEC, needs, thunk::handle_ref::<H, E, O>)
}

/// Asks what a parameter needs, in a constant.
#[derive(Debug)]
pub struct Asked<P>(PhantomData<fn() -> P>);

/// The answer where `P` is no parameter, which [`parameter`] has an error for already.
pub trait AskedFallback {
    /// Nothing.
    const NEED: Need = Need::Unknown;
}

impl<P> AskedFallback for Asked<P> {}

impl<P: Param<'static>> Asked<P> {
    /// What `P` needs.
    pub const NEED: Need = P::NEED;
}

/// Checks what the list of parameters alone can show.
///
/// # Panics
/// At compile time, where a parameter that exists once per call is asked for twice, or a streaming handler takes no
/// `&mut Items`.
#[must_use]
// The compiler then blames the caller alone, which is the function's name, and shows nothing of what is in here.
#[track_caller]
pub const fn needs<M: Message>(needs: &'static [Need]) -> &'static [Need] {
    if M::SPEC.streaming {
        let mut items = false;
        let mut i = 0;
        while i < needs.len() {
            items = items || matches!(needs[i], Need::Items | Need::Unknown);
            i += 1;
        }
        assert!(items, "the handler of a streaming message takes `&mut Items<T>`, its way out");
    }
    needs_of_part::<M>(needs)
}

/// Checks what the list of parameters of a fallback or a link alone can show.
///
/// # Panics
/// At compile time, where a parameter that exists once per call is asked for twice.
#[must_use]
#[track_caller]
pub const fn needs_of_part<M: Message>(needs: &'static [Need]) -> &'static [Need] {
    let twice = asked_for_twice(needs);
    assert!(twice.is_empty(), "{}", twice);
    needs
}

/// Passes a function's future through; where it is not `Send`, the error points at the function's name.
#[inline]
pub fn future_must_be_send<F: Future + Send>(future: F) -> F {
    future
}

/// Turns what a function returned into the message's result, where its type cannot be named outside of the function.
#[inline]
pub fn answer<M: Handled<Response = R, Error = E>, O: Answer<R, E, How>, How, R, E>(output: O) -> Result<R, E> {
    output.answer()
}

/// The same for an event handler.
///
/// # Errors
/// With the handler's error.
#[inline]
pub fn event_answer<O: EventAnswer>(output: O) -> Result<(), BoxError> {
    output.event_answer()
}

/// A domain event that each of its handlers can have for itself.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be taken by value: it is not `Clone`",
    label = "one event goes to several handlers",
    note = "take `&{Self}`, or annotate `{Self}` with `#[derive(Clone)]`"
)]
pub trait Duplicated<Checked>: Sized {
    /// The event, for one of them.
    fn duplicated(&self) -> Self;
}

#[diagnostic::do_not_recommend]
impl<E: Message + Clone> Duplicated<PhantomData<E::Checked>> for E {
    fn duplicated(&self) -> Self {
        self.clone()
    }
}

/// What is no message has an error elsewhere.
#[diagnostic::do_not_recommend]
impl<E> Duplicated<()> for E {
    fn duplicated(&self) -> Self {
        unreachable!("the handler of what is no message does not compile")
    }
}

/// Gives a message away and keeps it; what it is was asked before.
#[derive(Debug)]
pub struct Copies<Checked>(pub Checked);

impl<Checked> Copies<Checked> {
    /// The event, for a handler of a domain event that takes `E`.
    pub fn duplicated<E: Duplicated<Checked>>(self, event: &E) -> E {
        event.duplicated()
    }

    /// The message, for a handler with a policy that takes `M`.
    pub fn given_again<M: GivenAgain<Checked>>(self, message: &M) -> M {
        message.given_again()
    }
}
