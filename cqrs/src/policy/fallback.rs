//! The second handler: what it must be, and how it is called.

use std::future::{Future, Ready};
use std::marker::PhantomData;

use crate::dispatch::thunk::Answer;
use crate::message::Message;
use crate::policy::Cause;
use crate::registry::HandlerItem;
use crate::unit::{Begin, Cx, Tx, TxOf};
use crate::{App, Events, Inject, Items, Meta, StepKey};

/// A function under `#[fallback]`, for handlers of `M`.
///
/// The message is a parameter and not an associated type, so that a public function may take a private message.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a fallback for `{M}`",
    label = "no `#[fallback]` function that takes `{M}`",
    note = "`fallback = ..` names a function under `#[fallback]` that takes the handler's message, `{M}` or `&{M}`, first"
)]
pub trait Fallback<M>: 'static {
    /// What the function returns.
    type Output;
    /// What was registered.
    const ITEM: &'static HandlerItem;
    /// Whether it takes the message by value.
    const BY_VALUE: bool;
    /// Whether it takes it as `&mut`: the context of a saga.
    const BY_MUT: bool;

    /// Calls the function.
    fn call<'c>(
        message: Lent<'c, M>,
        context: &'c mut Cx<'_>,
        handler: u32,
    ) -> impl Future<Output = Self::Output> + Send;
}

/// A fallback that may be told of the error `E`: all its parameters are.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a fallback",
    label = "not a fallback",
    note = "`fallback = ..` names a function under `#[fallback]`: `#[fallback] async fn cached(q: &GetQuote, cause: Cause<QuoteError>) -> ..`"
)]
pub trait AnswersTo<E> {}

/// A parameter of a fallback after a handler whose error is `E`.
#[diagnostic::on_unimplemented(
    message = "this fallback takes `{Self}`, and the handler before it fails with `{E}`",
    label = "its `Cause` is about another error",
    note = "the fallback's cause is about the error of the handler function: `cause: Cause<{E}>`"
)]
pub trait FitsCause<E> {}

impl<E> FitsCause<E> for Cause<E> {}
impl<E, T: ?Sized> FitsCause<E> for Inject<T> {}
impl<E> FitsCause<E> for &mut Events {}
impl<E, Db: TxOf> FitsCause<E> for &mut Tx<Db> {}
impl<E, Db: TxOf> FitsCause<E> for &mut Begin<Db> {}
impl<E> FitsCause<E> for &Meta {}
impl<E> FitsCause<E> for &App {}
impl<E, T> FitsCause<E> for &mut Items<T> {}
impl<E> FitsCause<E> for StepKey {}

/// A message lent to a fallback, which comes last: it may have the message where nobody else does.
#[derive(Debug)]
pub enum Lent<'c, M> {
    /// The call's own.
    Own(&'c mut Option<M>),
    /// An event, which goes to several handlers.
    Shared(&'c M),
}

impl<'c, M> Lent<'c, M> {
    /// The message, to look at.
    ///
    /// # Panics
    /// Where the message was taken before: a fallback is called once.
    #[expect(clippy::expect_used, reason = "a call has its message until its fallback, which comes last, takes it")]
    pub fn by_ref(self) -> &'c M {
        match self {
            Self::Own(message) => message.as_ref().expect("a message was taken twice; please report this"),
            Self::Shared(message) => message,
        }
    }
}

impl<'c, M> Lent<'c, M> {
    /// The context of a saga, to change.
    ///
    /// # Panics
    /// Where it is another's: a step is given its own.
    #[expect(clippy::expect_used, reason = "a step is lent a context of its own")]
    pub fn by_mut(self) -> &'c mut M {
        match self {
            Self::Own(message) => message.as_mut(),
            Self::Shared(_) => None,
        }
        .expect("a step was lent no context of its own; please report this")
    }
}

impl<M: Message> Lent<'_, M> {
    /// The message, to keep; of a shared one a clone.
    ///
    /// # Panics
    /// Where the message was taken before, or is shared and not `Clone`: both were ruled out where the fallback was
    /// registered.
    #[expect(clippy::expect_used, reason = "that an event is `Clone` was asserted where its fallback was registered")]
    pub fn by_value(self) -> M {
        match self {
            Self::Own(message) => message.take(),
            Self::Shared(message) => {
                let copy = M::SPEC.codec.duplicate.and_then(|duplicate| (duplicate.0)(message));
                copy.and_then(|copy| copy.downcast().ok()).and_then(std::sync::Arc::into_inner)
            }
        }
        .expect("a message was taken twice, or is shared and not `Clone`; please report this")
    }
}

/// What comes after the attempts at a handler: a fallback, or nothing.
pub trait Backup<M, Own, R, E>: 'static {
    /// Calls it, if there is one.
    fn call<'c>(
        message: Lent<'c, M>,
        context: &'c mut Cx<'_>,
        handler: u32,
    ) -> Option<impl Future<Output = Result<R, E>> + Send>;
}

/// No fallback.
#[derive(Debug)]
pub struct NoFallback;

impl<M, Own, R: Send, E: Send> Backup<M, Own, R, E> for NoFallback {
    fn call<'c>(_: Lent<'c, M>, _: &'c mut Cx<'_>, _: u32) -> Option<impl Future<Output = Result<R, E>> + Send> {
        None::<Ready<Result<R, E>>>
    }
}

/// The fallback `F`, whose answer is turned into the message's by `How`.
#[derive(Debug)]
pub struct Backed<F, How>(PhantomData<fn() -> (F, How)>);

impl<F, How: 'static, M: Message, Own, R, E> Backup<M, Own, R, E> for Backed<F, How>
where
    F: Fallback<M> + AnswersTo<Own>,
    F::Output: Answer<R, E, How>,
{
    fn call<'c>(
        message: Lent<'c, M>,
        context: &'c mut Cx<'_>,
        handler: u32,
    ) -> Option<impl Future<Output = Result<R, E>> + Send> {
        let call = F::call(message, context, handler);
        Some(async move { call.await.answer() })
    }
}
