//! Which kind of function a parameter stands in, and what each kind may ask for: the closed table of parameters.

use std::marker::PhantomData;

macro_rules! roles {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name<M>(PhantomData<fn() -> M>);
    )*};
}

roles! {
    /// A command handler of `M`.
    CommandHandler,
    /// A query handler of `M`.
    QueryHandler,
    /// A plain event handler of `M`.
    PlainEventHandler,
    /// An `inline` event handler of `M`.
    InlineEventHandler,
    /// A `durable` event handler of `M`.
    DurableEventHandler,
    /// A `group` event handler of `M`.
    GroupEventHandler,
    /// A link of a chain for `M`.
    LinkHandler,
    /// A fallback of a handler of `M`. What that handler may not take, its fallback may not either: that is asked where the
    /// two are put together.
    FallbackHandler,
    /// A step of a saga over `M`.
    StepHandler,
    /// A compensation in a saga over `M`.
    CompensationHandler,
}

/// A provider with one value per app.
#[derive(Debug)]
pub struct AppProvider;

/// A provider with one value per unit of work.
#[derive(Debug)]
pub struct MessageProvider;

/// A middleware.
#[derive(Debug)]
pub struct Middleware;

/// May take `&mut Events`.
#[diagnostic::on_unimplemented(
    message = "a query handler cannot take `&mut Events`",
    label = "a query changes nothing, so it raises nothing",
    note = "make the message a command, or raise the event from the handler that changes something"
)]
pub trait Raises {}

/// May take `&mut Tx<Db>` and `&mut Begin<Db>`.
#[diagnostic::on_unimplemented(
    message = "this handler cannot take a transaction",
    label = "no unit of work here to take part in",
    note = "`&mut Tx<Db>` and `&mut Begin<Db>` are for command handlers and for `inline`, `durable` and `group` event handlers; a query reads through `Inject<SqlitePool>`, a plain event handler runs after the commit"
)]
pub trait Writes {}

/// May take `&App`.
#[diagnostic::on_unimplemented(
    message = "a query handler cannot take `&App`",
    label = "a query changes nothing, so it sends nothing",
    note = "make the message a command, or ask for what the query reads with `Inject<T>`"
)]
pub trait Sends {}

/// May take `&mut Items<T>`.
#[diagnostic::on_unimplemented(
    message = "this handler cannot take `&mut Items`",
    label = "the message it handles yields no such items",
    note = "name the item type in the derive: `#[command(item = Row)]` or `#[query(item = Row)]`, and take `&mut Items<Row>`"
)]
pub trait Yields<T> {}

/// May take a `StepKey`.
#[diagnostic::on_unimplemented(
    message = "this function cannot take a `StepKey`",
    label = "no step of a saga",
    note = "a `StepKey` is for `#[saga_step]`, `#[compensation]` and the `#[fallback]` of a step"
)]
pub trait Keyed {}

impl<M> Keyed for StepHandler<M> {}
impl<M> Keyed for CompensationHandler<M> {}
impl<M: crate::saga::step::SagaContext> Keyed for FallbackHandler<M> {}

impl<M> Raises for CommandHandler<M> {}
impl<M> Raises for PlainEventHandler<M> {}
impl<M> Raises for InlineEventHandler<M> {}
impl<M> Raises for DurableEventHandler<M> {}
impl<M> Raises for GroupEventHandler<M> {}

impl<M> Writes for CommandHandler<M> {}
impl<M> Writes for InlineEventHandler<M> {}
impl<M> Writes for DurableEventHandler<M> {}
impl<M> Writes for GroupEventHandler<M> {}

impl<M> Sends for CommandHandler<M> {}
impl<M> Sends for PlainEventHandler<M> {}
impl<M> Sends for InlineEventHandler<M> {}
impl<M> Sends for DurableEventHandler<M> {}
impl<M> Sends for GroupEventHandler<M> {}

impl<M: crate::message::Streaming<Item = T>, T> Yields<T> for CommandHandler<M> {}
impl<M: crate::message::Streaming<Item = T>, T> Yields<T> for QueryHandler<M> {}

impl<M> Raises for StepHandler<M> {}
impl<M> Writes for StepHandler<M> {}
impl<M> Sends for StepHandler<M> {}
impl<M> Raises for CompensationHandler<M> {}
impl<M> Writes for CompensationHandler<M> {}
impl<M> Sends for CompensationHandler<M> {}

impl<M> Raises for FallbackHandler<M> {}
impl<M> Writes for FallbackHandler<M> {}
impl<M> Sends for FallbackHandler<M> {}
impl<M: crate::message::Streaming<Item = T>, T> Yields<T> for FallbackHandler<M> {}

#[diagnostic::do_not_recommend]
impl<M: crate::__private::AnyCommand> Raises for LinkHandler<M> {}
#[diagnostic::do_not_recommend]
impl<M: crate::__private::AnyCommand> Writes for LinkHandler<M> {}
#[diagnostic::do_not_recommend]
impl<M: crate::__private::AnyCommand> Sends for LinkHandler<M> {}
