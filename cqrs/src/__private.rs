//! Not public API: what generated code names. Everything here may change with every release.

use std::sync::Arc;

pub use inventory;

pub use crate::inject::{
    Provided, ProvidedArc, ProvidedResult, ProvidedResultArc, ProvidedValue, Resolved, Resolver, provided,
    provided_target,
};
pub use crate::message::{
    Codec, Command, DomainEvent, Event, Handled, Message, MessageKind, MessageSpec, NotificationEvent, Query,
    SourceLocation, Streaming,
};
pub use crate::middleware::{Call, Next, Outcome};
pub use crate::registry::{
    CallFuture, CallThunk, EventFuture, EventMode, EventThunk, GroupOptions, HandlerItem, HandlerKind, MessageItem,
    MiddlewareFuture, MiddlewareItem, MiddlewareKinds, Need, OnDead, OnUnknown, ProviderFuture, ProviderItem,
    ProviderScope, RetryOptions, TypedFuture, TypedThunk,
};
pub use crate::unit::{Cx, Meta, Param, Parts, role};
pub use crate::{BoxError, Inject};

pub use self::codec::{Probe, ProbeFallback, key};
pub use self::handler::{
    Answer, AnyCommand, AnyQuery, EventAnswer, answer, command_handler, domain_event_handler, event_answer,
    event_by_value, event_ref, group_event_by_value, group_handler, handler_future_must_be_send, needs, parameter,
    query_handler,
};
pub use self::middleware::{middleware_call, middleware_next, middleware_outcome};
pub use self::provider::{ProviderParam, dependency};

/// An event whose type the generated code knows.
pub type Erased = Arc<dyn std::any::Any + Send + Sync>;

pub use self::verify::{verify, verify_linked};

mod verify {
    use crate::Builder;

    /// Checks a builder.
    ///
    /// # Panics
    /// With every wiring problem at once.
    #[track_caller]
    #[expect(clippy::panic, reason = "a check in a test fails by a panic")]
    pub fn verify(builder: Builder) {
        if let Err(error) = builder.check() {
            panic!("{error}");
        }
    }

    /// Checks what is linked into a test, and prints what it still needs.
    #[expect(clippy::print_stdout, reason = "a test prints what it found")]
    pub fn verify_linked() {
        match Builder::linked(&[]).check() {
            Ok(()) => println!("the handlers linked here need nothing"),
            Err(error) => println!("what the handlers linked here still need:\n{error}"),
        }
    }
}

mod codec {
    //! What a type can do, asked in a constant: an inherent constant where the bound holds, the trait's where not.

    use std::any::Any;
    use std::fmt::{Debug, Display};
    use std::marker::PhantomData;

    use serde::Serialize;
    use serde::de::DeserializeOwned;

    use crate::message::codec::{self as codec_fns, DebugFn, DecodeFn, DuplicateFn, EncodeFn, RunFn};
    use crate::message::{Handled, Message};

    /// Asks what `T` can do.
    #[derive(Debug)]
    pub struct Probe<T>(PhantomData<T>);

    /// The answers where `T` lacks the trait.
    pub trait ProbeFallback {
        /// No `Serialize`.
        const ENCODE: Option<EncodeFn> = None;
        /// No `DeserializeOwned`.
        const DECODE: Option<DecodeFn> = None;
        /// No `Clone`.
        const DUPLICATE: Option<DuplicateFn> = None;
        /// No `Debug`.
        const DEBUG: Option<DebugFn> = None;
        /// No command, or no `DeserializeOwned`.
        const RUN: Option<RunFn> = None;
    }

    impl<T> ProbeFallback for Probe<T> {}

    impl<T: Any + Serialize> Probe<T> {
        /// Writes `T`.
        pub const ENCODE: Option<EncodeFn> = Some(codec_fns::encode::<T>);
    }

    impl<T: Any + Send + Sync + DeserializeOwned> Probe<T> {
        /// Reads `T`.
        pub const DECODE: Option<DecodeFn> = Some(codec_fns::decode::<T>);
    }

    impl<T: Any + Send + Sync + Clone> Probe<T> {
        /// Clones `T`.
        pub const DUPLICATE: Option<DuplicateFn> = Some(codec_fns::duplicate::<T>);
    }

    impl<T: Any + Debug> Probe<T> {
        /// Shows `T`.
        pub const DEBUG: Option<DebugFn> = Some(codec_fns::debug::<T>);
    }

    impl<T: Handled + DeserializeOwned> Probe<T> {
        /// Runs the handler of `T`.
        pub const RUN: Option<RunFn> = Some(codec_fns::run::<T>);
    }

    /// The type of a `key` field.
    #[diagnostic::on_unimplemented(
        message = "`{Self}` cannot be the key of a message",
        label = "a field that is not `Display`",
        note = "the key is stored and sent as what its `Display` writes"
    )]
    pub trait Key: Display {}

    #[diagnostic::do_not_recommend]
    impl<T: Display> Key for T {}

    /// Reads the key of an erased message.
    pub fn key<M: Message, K: Key>(message: &(dyn Any + Send + Sync), read: fn(&M) -> &K) -> Option<String> {
        message.downcast_ref::<M>().map(|message| read(message).to_string())
    }
}

mod handler {
    use std::future::Future;
    use std::sync::Arc;

    use super::Erased;
    use crate::BoxError;
    use crate::message::{DomainEvent, Handled, Message, NotificationEvent, SourceLocation};
    use crate::registry::{
        EventMode, EventThunk, GroupOptions, HandlerItem, HandlerKind, Need, TypedThunk, needs_are_unique,
    };
    use crate::unit::{Param, Parts};

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

    /// A command handler's item.
    pub const fn command_handler<M: AnyCommand + Handled<Response = R, Error = E>, R, E>(
        name: &'static str,
        location: SourceLocation,
        needs: &'static [Need],
        thunk: &'static TypedThunk<M, R, E>,
    ) -> HandlerItem {
        HandlerItem::call(HandlerKind::Command, name, location, needs, thunk)
    }

    /// A query handler's item.
    pub const fn query_handler<M: AnyQuery + Handled<Response = R, Error = E>, R, E>(
        name: &'static str,
        location: SourceLocation,
        needs: &'static [Need],
        thunk: &'static TypedThunk<M, R, E>,
    ) -> HandlerItem {
        HandlerItem::call(HandlerKind::Query, name, location, needs, thunk)
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
    pub const fn domain_event_handler<E: HandledHere>(
        mode: EventMode,
        name: &'static str,
        location: SourceLocation,
        order: i32,
        needs: &'static [Need],
        thunk: EventThunk,
    ) -> HandlerItem {
        HandlerItem::event(mode, name, location, order, E::SPEC, needs, thunk)
    }

    /// The item of a `group` event handler.
    pub const fn group_handler<E: Consumed>(
        options: GroupOptions,
        name: &'static str,
        location: SourceLocation,
        order: i32,
        needs: &'static [Need],
        thunk: EventThunk,
    ) -> HandlerItem {
        HandlerItem::event(EventMode::Group(options), name, location, order, E::SPEC, needs, thunk)
    }

    /// Checks what the list of parameters alone can show.
    ///
    /// # Panics
    /// At compile time, where a parameter that exists once per call is asked for twice, or a streaming handler takes no
    /// `&mut Items`.
    #[must_use]
    pub const fn needs<M: Message>(needs: &'static [Need]) -> &'static [Need] {
        assert!(needs_are_unique(needs), "a handler takes its transaction, its `Events` and its `Items` once");
        if M::SPEC.streaming {
            let mut items = false;
            let mut i = 0;
            while i < needs.len() {
                items = items || matches!(needs[i], Need::Items);
                i += 1;
            }
            assert!(items, "the handler of a streaming message takes `&mut Items<T>`, its way out");
        }
        needs
    }

    /// Takes a parameter.
    ///
    /// # Panics
    /// Never, unless a unit was built without what the handler's item asks for.
    #[inline]
    #[expect(clippy::expect_used, reason = "wiring has proved that every part is there")]
    pub fn parameter<'c, P: Param<'c, R>, R>(parts: &mut Parts<'c>) -> P {
        P::take(parts).expect("the unit of work lacks a part that its handler asks for; please report this")
    }

    /// Passes the handler's future through; where it is not `Send`, the error points at the handler's name.
    #[inline]
    pub fn handler_future_must_be_send<F: Future + Send>(future: F) -> F {
        future
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

    /// Turns what the handler returned into the message's result.
    #[inline]
    pub fn answer<M: Handled<Response = R, Error = E>, O: Answer<R, E, How>, How, R, E>(output: O) -> Result<R, E> {
        output.answer()
    }

    /// What an event handler may return.
    #[diagnostic::on_unimplemented(
        message = "`{Self}` is not what an event handler returns",
        label = "neither `()` nor `Result<(), E>`",
        note = "return nothing, or `Result<(), E>` with an error that is `Into<cqrs::BoxError>`"
    )]
    pub trait EventAnswer {
        /// Turns it into a result.
        fn event_answer(self) -> Result<(), BoxError>;
    }

    impl EventAnswer for () {
        fn event_answer(self) -> Result<(), BoxError> {
            Ok(())
        }
    }

    impl<E: Into<BoxError>> EventAnswer for Result<(), E> {
        fn event_answer(self) -> Result<(), BoxError> {
            self.map_err(Into::into)
        }
    }

    /// Turns what the event handler returned into a result.
    #[inline]
    pub fn event_answer<O: EventAnswer>(output: O) -> Result<(), BoxError> {
        output.event_answer()
    }

    /// The event, for a handler that takes `&E`.
    ///
    /// # Panics
    /// Never, unless the event is of another type than the handler's.
    #[expect(clippy::expect_used, reason = "handlers are looked up by the event's type")]
    pub fn event_ref<E: Message>(event: &Erased) -> &E {
        event.downcast_ref().expect("an event reached a handler of another type; please report this")
    }

    /// A domain event that each of its handlers can have for itself.
    #[diagnostic::on_unimplemented(
        message = "`{Self}` cannot be taken by value: it is not `Clone`",
        label = "one event goes to several handlers",
        note = "take `&{Self}`, or annotate `{Self}` with `#[derive(Clone)]`"
    )]
    pub trait Duplicated: Message + Clone {}

    #[diagnostic::do_not_recommend]
    impl<E: Message + Clone> Duplicated for E {}

    /// The event, for a handler of a domain event that takes `E`.
    #[expect(clippy::needless_pass_by_value, reason = "the same form as for consumed events, which are taken")]
    pub fn event_by_value<E: Duplicated>(event: Erased) -> E {
        E::clone(event_ref(&event))
    }

    /// The event, for a handler of a consumed event that takes `E`: decoded for it alone.
    ///
    /// # Panics
    /// Never, unless the event is of another type than the handler's, or shared.
    #[expect(clippy::expect_used, reason = "a consumed event is decoded once per handler")]
    pub fn group_event_by_value<E: Message>(event: Erased) -> E {
        let event = event.downcast::<E>().ok().and_then(Arc::into_inner);
        event.expect("a consumed event is shared or of another type than its handler's; please report this")
    }
}

mod middleware {
    use crate::middleware::{Call, Next, Outcome};

    /// The first parameter of a middleware.
    #[diagnostic::on_unimplemented(
        message = "the first parameter of a middleware is `Call<'_>`, not `{Self}`",
        label = "not `Call<'_>`",
        note = "a middleware is `async fn audit(call: Call<'_>, next: Next<'_>, ..) -> Outcome`"
    )]
    pub trait IsCall<'a> {
        /// Passes the call on.
        fn of(call: Call<'a>) -> Self;
    }

    impl<'a> IsCall<'a> for Call<'a> {
        fn of(call: Self) -> Self {
            call
        }
    }

    /// Passes the call on.
    pub fn middleware_call<'a, C: IsCall<'a>>(call: Call<'a>) -> C {
        C::of(call)
    }

    /// The second parameter of a middleware.
    #[diagnostic::on_unimplemented(
        message = "the second parameter of a middleware is `Next<'_>`, not `{Self}`",
        label = "not `Next<'_>`",
        note = "a middleware is `async fn audit(call: Call<'_>, next: Next<'_>, ..) -> Outcome`"
    )]
    pub trait IsNext<'a> {
        /// Passes the rest of the way on.
        fn of(next: Next<'a>) -> Self;
    }

    impl<'a> IsNext<'a> for Next<'a> {
        fn of(next: Self) -> Self {
            next
        }
    }

    /// Passes the rest of the way on.
    pub fn middleware_next<'a, N: IsNext<'a>>(next: Next<'a>) -> N {
        N::of(next)
    }

    /// What a middleware returns.
    #[diagnostic::on_unimplemented(
        message = "a middleware returns `Outcome`, not `{Self}`",
        label = "not `Outcome`",
        note = "return what `next.run().await` gave, or `Outcome::reject(error)`"
    )]
    pub trait IsOutcome {
        /// Passes the outcome on.
        fn outcome(self) -> Outcome;
    }

    impl IsOutcome for Outcome {
        fn outcome(self) -> Outcome {
            self
        }
    }

    /// Passes the outcome on.
    pub fn middleware_outcome<O: IsOutcome>(outcome: O) -> Outcome {
        outcome.outcome()
    }
}

mod provider {
    use crate::Inject;
    use crate::inject::Resolver;
    use crate::registry::Need;
    use crate::unit::{Meta, role};

    /// A parameter of a provider or a middleware with the role `R`.
    #[diagnostic::on_unimplemented(
        message = "`{Self}` is not a parameter this function can take",
        label = "not known here",
        note = "a provider takes any number of `Inject<T>`, and `&Meta` where its scope is `message`; a middleware takes `Call<'_>`, `Next<'_>` and any number of `Inject<T>`"
    )]
    pub trait ProviderParam<'a, R>: Sized {
        /// What the parameter asks for.
        const NEED: Need;

        /// Takes it.
        fn take(resolver: &mut Resolver<'a>) -> Option<Self>;
    }

    impl<R, T: ?Sized + Send + Sync + 'static> ProviderParam<'_, R> for Inject<T> {
        const NEED: Need = Need::Inject { type_id: Self::id(), name: Self::name };

        fn take(resolver: &mut Resolver<'_>) -> Option<Self> {
            resolver.inject()
        }
    }

    impl<'a> ProviderParam<'a, role::MessageProvider> for &'a Meta {
        const NEED: Need = Need::Meta;

        fn take(resolver: &mut Resolver<'a>) -> Option<Self> {
            resolver.meta()
        }
    }

    /// Takes a parameter.
    ///
    /// # Panics
    /// Never, unless the resolver was built without what the item asks for.
    #[expect(clippy::expect_used, reason = "wiring has proved that every dependency is there")]
    pub fn dependency<'a, P: ProviderParam<'a, R>, R>(resolver: &mut Resolver<'a>) -> P {
        P::take(resolver).expect("a dependency is missing that wiring had found; please report this")
    }
}
