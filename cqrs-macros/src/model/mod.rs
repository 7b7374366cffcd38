//! Checked facts, still with the user's tokens, from which code can be generated without another question.

mod function;
mod handler;
mod message;
mod problem;
mod saga;
mod wiring;

pub(crate) use self::function::{Function, MessageParam, Taken, UserType};
pub(crate) use self::handler::{
    Breaker, EventMode, Fallback, Group, Handler, HandlerKind, OnDead, OnUnknown, Policy, Retry,
};
pub(crate) use self::message::{Answer, Message, MessageKind, Wire, WireFormat};
pub(crate) use self::problem::{Case, Problem, Says, Told};
pub(crate) use self::saga::{Awaits, Compensation, Place, Rate, Saga, SagaStep, Step};
pub(crate) use self::wiring::{CallKind, Middleware, Provider, Scope};

/// The path of the `cqrs` crate: `::cqrs`, or what `crate = ..` says.
#[derive(Debug, Clone)]
pub(crate) struct CratePath(pub(crate) syn::Path);
