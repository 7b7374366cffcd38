//! Not public API: what generated code names. Everything here may change with every release.

mod awaits;
mod codec;
mod guarded;
mod handler;
mod links;
mod middleware;
mod provider;
mod sagas;
mod verify;

pub use inventory;

pub use crate::__protobuf_of as protobuf_of;
pub use crate::__web_of as web_of;
#[cfg(feature = "axum")]
pub use crate::axum::idempotency::{KeyFallback, KeyProbe, KeyedFn};
#[cfg(feature = "axum")]
pub use crate::axum::known::{AskFn, ProblemFallback, ProblemItem, ProblemProbe, derived};
#[cfg(feature = "axum")]
pub use crate::axum::{Problem, ProblemDetails};
pub use crate::breaker::BreakerOptions;
#[cfg(feature = "__fail-points")]
pub use crate::fail_points::{FailPoint, watch};

pub use crate::inject::{
    Provided, ProvidedArc, ProvidedResult, ProvidedResultArc, ProvidedValue, Resolved, Resolver, Shaped,
};
pub use crate::message::{
    Codec, Command, DomainEvent, Event, Handled, Message, MessageKind, MessageSpec, NotificationEvent, Query,
    SourceLocation, Streaming, TypePath, Upgrade, Upgrades, WireFormat,
};
pub use crate::middleware::{Call, Next, Outcome};
pub use crate::registry::{
    ChainItem, EventMode, GroupOptions, HandlerItem, HandlerKind, LinkItem, MessageItem, MiddlewareFuture,
    MiddlewareItem, MiddlewareKinds, Need, OnDead, OnUnknown, ProviderFuture, ProviderItem, ProviderScope,
    RetryOptions,
};
pub use crate::unit::{Cx, Meta, Param, TakenBy, role};
pub use crate::{BoxError, Inject};

pub use self::awaits::{By, Comparable, SameAs, awaited, awaits, by, in_group};
#[cfg(feature = "protobuf")]
pub use self::codec::protobuf;
pub use self::codec::{Probe, ProbeFallback, Shareable, checked_message, key};
pub use self::guarded::{
    AnswersTo, Attempted, Backed, Backup, Counts, EveryError, Fails, Fallback, FitsCause, GivenAgain, HasPolicy, Lent,
    NoFallback, Policy, StandsInFor, fallback, fallback_mut, fallback_of, guarded_command_handler,
    guarded_domain_event_handler, guarded_group_handler, guarded_query_handler,
};
pub use self::handler::{
    Answer, AnyCommand, AnyQuery, Asked, AskedFallback, Copies, EventAnswer, Fallible, Handle, HandleLent, HandleRef,
    Plain, answer, command_handler, command_handler_ref, domain_event_handler, event_answer, future_must_be_send,
    group_handler, group_handler_ref, needs, needs_of_part, parameter, parameters, parameters0, parameters1,
    parameters2, parameters3, parameters4, parameters5, query_handler, query_handler_ref,
};
pub use self::links::{
    Chain, ChainLink, Chained, Link, Passed, ask, ask_guarded, ask_ref, chain_for, chain_item, chain_of,
    checked_guarded_link, checked_link, checked_link_ref, guarded_link, link, link_answer, link_of, link_stands_in_for,
};
pub use self::middleware::{middleware_call, middleware_next, middleware_outcome};
pub use self::provider::{ProviderParam, dependency};

pub use self::sagas::{
    ApplyFn, AwaitsItem, Change, Changes, Compensation, CompensationItem, Ends, FieldFn, KeepFn, Keepable, Member,
    NamedStep, PlaceItem, Returned, ReturnedFallback, SagaContext, SagaItem, SagaStep, Shape, ShapeFallback, StepItem,
    StepThunk, WayBack, back_by, checked_context, compensation, step, step_as, step_at, step_of,
};
pub use self::verify::{verify, verify_linked};
