//! What a handler is made into, by one generic function for all of them: a future that owns the call's context and
//! hands it back.
//!
//! An attribute generates no more than the function's call with its parameters. What is around it is written here, where
//! the compiler reads and checks it once, and not again for each handler.

use std::any::Any;
use std::future::Future;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::{DispatchError, Failure};
use crate::BoxError;
use crate::message::{Erased, Handled, Message};
use crate::policy::{Attempted, Backup, Counts, Kept, Lent, run};
use crate::registry::{CallFuture, CallThunk, EventFuture, WholeFuture, WholeThunk};
use crate::unit::Cx;

/// A handler that takes its message by value.
pub trait Handle: 'static {
    /// What it handles.
    type Message;
    /// What the function returns.
    type Output;

    /// Calls the function with its parameters, taken from the call's context; `handler` is its number in the app's plan.
    fn call(message: Self::Message, context: &mut Cx<'_>, handler: u32) -> impl Future<Output = Self::Output> + Send;
}

/// A handler that takes its message by reference.
pub trait HandleRef: 'static {
    /// What it handles.
    type Message;
    /// What the function returns.
    type Output;

    /// Calls the function with its parameters, taken from the call's context; `handler` is its number in the app's plan.
    fn call<'c>(
        message: &'c Self::Message,
        context: &'c mut Cx<'_>,
        handler: u32,
    ) -> impl Future<Output = Self::Output> + Send;
}

/// A handler with a policy, which may have to be called again.
pub trait HandleLent: 'static {
    /// What it handles.
    type Message;
    /// What the function returns.
    type Output;

    /// Calls the function.
    fn call<'c>(
        message: Lent<'c, Self::Message>,
        context: &'c mut Cx<'_>,
        handler: u32,
    ) -> impl Future<Output = Self::Output> + Send;
}

/// What a command or query handler may return: `R` is the message's response, `E` its error.
#[diagnostic::on_unimplemented(
    message = "a handler of this message does not return `{Self}`",
    label = "neither `{R}` nor a `Result<{R}, _>` with a fitting error",
    note = "the message's response is `{R}`, its error `{E}`: return `{R}`, or a `Result` of it with an error that is `Into` the message's",
    note = "both are named in the message's derive: `#[command(response = R, error = E)]`"
)]
pub trait Answer<R, E, How> {
    /// Turns it into the message's result.
    ///
    /// # Errors
    /// With the handler's error.
    fn answer(self) -> Result<R, E>;
}

/// The response as it is.
#[derive(Debug)]
pub struct Plain;
/// A result with an error that is `Into` the message's.
#[derive(Debug)]
pub struct Fallible;

#[diagnostic::do_not_recommend]
impl<R, E> Answer<R, E, Plain> for R {
    #[inline]
    fn answer(self) -> Result<R, E> {
        Ok(self)
    }
}

#[diagnostic::do_not_recommend]
impl<R, E, F: Into<E>> Answer<R, E, Fallible> for Result<R, F> {
    #[inline]
    fn answer(self) -> Result<R, E> {
        self.map_err(Into::into)
    }
}

/// What an event handler may return.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not what an event handler returns",
    label = "neither `()` nor `Result<(), E>`",
    note = "return nothing, or `Result<(), E>` with an error that is `Into<cqrs::BoxError>`"
)]
pub trait EventAnswer {
    /// Turns it into a result.
    ///
    /// # Errors
    /// With the handler's error.
    fn event_answer(self) -> Result<(), BoxError>;
}

impl EventAnswer for () {
    fn event_answer(self) -> Result<(), BoxError> {
        Ok(())
    }
}

#[diagnostic::do_not_recommend]
impl<E: Into<BoxError>> EventAnswer for Result<(), E> {
    fn event_answer(self) -> Result<(), BoxError> {
        self.map_err(Into::into)
    }
}

/// Calls a command or query handler that takes its message by value.
pub(crate) fn call<H, M, O, How>(message: M, mut cx: Cx<'_>, handler: u32) -> CallFuture<'_, M>
where
    H: Handle<Message = M, Output = O>,
    M: Handled,
    O: Answer<M::Response, M::Error, How>,
{
    boxed(Box::new_uninit(), async move {
        let output = H::call(message, &mut cx, handler).await;
        (output.answer(), cx)
    })
}

/// Calls a command or query handler that takes its message by reference.
pub(crate) fn call_ref<H, M, O, How>(message: M, mut cx: Cx<'_>, handler: u32) -> CallFuture<'_, M>
where
    H: HandleRef<Message = M, Output = O>,
    M: Handled,
    O: Answer<M::Response, M::Error, How>,
{
    boxed(Box::new_uninit(), async move {
        let output = H::call(&message, &mut cx, handler).await;
        (output.answer(), cx)
    })
}

/// Calls an event handler that takes its event by reference, or a clone of it.
#[expect(clippy::expect_used, reason = "handlers are looked up by the event's type")]
pub(crate) fn handle_ref<H, E, O>(event: Erased, mut cx: Cx<'_>, handler: u32) -> EventFuture<'_>
where
    H: HandleRef<Message = E, Output = O>,
    E: Message,
    O: EventAnswer,
{
    boxed(Box::new_uninit(), async move {
        let event = event.downcast_ref::<E>();
        let event = event.expect("an event reached a handler of another type; please report this");
        let output = H::call(event, &mut cx, handler).await;
        (output.event_answer(), cx)
    })
}

/// Calls the handler of a consumed event, which is decoded for it alone.
#[expect(clippy::expect_used, reason = "a consumed event is decoded once per handler")]
pub(crate) fn handle<H, E, O>(event: Erased, mut cx: Cx<'_>, handler: u32) -> EventFuture<'_>
where
    H: Handle<Message = E, Output = O>,
    E: Message,
    O: EventAnswer,
{
    boxed(Box::new_uninit(), async move {
        let event = event.downcast::<E>().ok().and_then(Arc::into_inner);
        let event =
            event.expect("a consumed event is shared or of another type than its handler's; please report this");
        let output = H::call(event, &mut cx, handler).await;
        (output.event_answer(), cx)
    })
}

/// Calls a command or query handler with a policy.
pub(crate) fn guarded_call<H, J, B, M, O, How>(message: M, mut cx: Cx<'_>, handler: u32) -> WholeFuture<'_, M>
where
    H: HandleLent<Message = M, Output = O>,
    M: Handled,
    O: Attempted<M::Response, M::Error, How>,
    J: Counts<O::Own>,
    B: Backup<M, O::Own, M::Response, M::Error>,
{
    boxed(Box::new_uninit(), async move {
        let answer = run::<H, J, B, _, _, How>(&mut Kept::Own(Some(message)), &mut cx, handler, false).await;
        (answer, cx)
    })
}

/// Calls an event handler with a policy.
pub(crate) fn guarded_event<H, J, B, E, O, How>(event: Erased, mut cx: Cx<'_>, handler: u32) -> EventFuture<'_>
where
    H: HandleLent<Message = E, Output = O>,
    E: Message,
    O: Attempted<(), BoxError, How>,
    J: Counts<O::Own>,
    B: Backup<E, O::Own, (), BoxError>,
{
    Box::pin(async move {
        // The transaction is the raising call's, or holds the mark of the message.
        let answer = run::<H, J, B, _, _, How>(&mut Kept::event(event), &mut cx, handler, true).await;
        let item = cx.app.planned(handler).item;
        let in_vain = item.is_stored() && cx.unit.as_ref().is_some_and(|unit| unit.in_vain);
        (answer.map_err(|error| Failure::of_event(*error, item, in_vain).into()), cx)
    })
}

/// A command or query handler's call, with a policy or without.
pub(crate) enum AnyCall<'a, M: Handled> {
    Plain(CallFuture<'a, M>),
    Whole(WholeFuture<'a, M>),
}

impl<'a, M: Handled> AnyCall<'a, M> {
    /// Calls a handler by its thunk; gives the context back where that is for another message.
    pub(crate) fn new(
        thunk: &'static (dyn Any + Send + Sync),
        message: M,
        cx: Cx<'a>,
        handler: u32,
    ) -> Result<Self, Cx<'a>> {
        if let Some(thunk) = thunk.downcast_ref::<CallThunk<M>>() {
            Ok(Self::Plain((thunk.0)(message, cx, handler)))
        } else if let Some(thunk) = thunk.downcast_ref::<WholeThunk<M>>() {
            Ok(Self::Whole((thunk.0)(message, cx, handler)))
        } else {
            Err(cx)
        }
    }
}

impl<'a, M: Handled> Future for AnyCall<'a, M> {
    type Output = (Result<M::Response, DispatchError<M::Error>>, Cx<'a>);

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Plain(call) => {
                let (result, unit) = ready!(call.as_mut().poll(cx));
                Poll::Ready((result.map_err(DispatchError::Handler), unit))
            }
            Self::Whole(call) => {
                let (result, unit) = ready!(call.as_mut().poll(cx));
                Poll::Ready((result.map_err(|error| *error), unit))
            }
        }
    }
}

/// Boxes a future into memory that was asked for before it was made: there is nothing to drop then if that fails, and so
/// less to compile for each handler.
#[inline]
pub(crate) fn boxed<'a, F: Future + Send + 'a>(
    memory: Box<MaybeUninit<F>>,
    future: F,
) -> Pin<Box<dyn Future<Output = F::Output> + Send + 'a>> {
    let future: Box<F> = Box::write(memory, future);
    Box::into_pin(future)
}
