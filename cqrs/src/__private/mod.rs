//! Not public API: what generated code names. Everything here may change with every release.

mod codec;
mod handler;
mod middleware;
mod provider;
mod verify;

pub use inventory;

pub use crate::breaker::BreakerOptions;
pub use crate::inject::{
    Provided, ProvidedArc, ProvidedResult, ProvidedResultArc, ProvidedValue, Resolved, Resolver, provided,
    provided_target,
};
pub use crate::message::{
    Codec, Command, DomainEvent, Event, Handled, Message, MessageKind, MessageSpec, NotificationEvent, Query,
    SourceLocation, Streaming, TypePath,
};
pub use crate::middleware::{Call, Next, Outcome};
pub use crate::registry::{
    EventMode, GroupOptions, HandlerItem, HandlerKind, MessageItem, MiddlewareFuture, MiddlewareItem, MiddlewareKinds,
    Need, OnDead, OnUnknown, ProviderFuture, ProviderItem, ProviderScope, RetryOptions,
};
pub use crate::unit::{Meta, Param, Parts, TakenBy, role};
pub use crate::{BoxError, Inject};

pub use self::codec::{Probe, ProbeFallback, key};
pub use self::handler::{
    Answer, AnyCommand, AnyQuery, Asked, AskedFallback, EventAnswer, Fallible, Handle, HandleRef, Plain, answer,
    command_handler, command_handler_ref, domain_event_handler, duplicated, event_answer, future_must_be_send,
    group_handler, group_handler_ref, needs, parameter, query_handler, query_handler_ref,
};
pub use self::middleware::{middleware_call, middleware_next, middleware_outcome};
pub use self::provider::{ProviderParam, dependency};

pub use self::verify::{verify, verify_linked};
