//! Handlers of commands, queries and events.

use std::time::Duration;

use syn::LitStr;

use super::{Function, MessageParam};
use crate::parse::Arm;

/// A handler.
#[derive(Debug)]
pub(crate) struct Handler {
    pub(crate) function: Function,
    pub(crate) message: MessageParam,
    pub(crate) kind: HandlerKind,
    /// What surrounds its attempts; `None` where the attribute says nothing about it.
    pub(crate) policy: Option<Policy>,
}

/// What an attribute says about the attempts at its handler.
#[derive(Debug, Default)]
pub(crate) struct Policy {
    pub(crate) fallback: Option<syn::Path>,
    /// The errors that count; every error where it is empty.
    pub(crate) on: Vec<Arm>,
    pub(crate) timeout: Option<Duration>,
    /// Attempts within the call: those of stored work are the store's.
    pub(crate) retry: Option<Retry>,
    pub(crate) breaker: Option<Breaker>,
}

/// A circuit breaker; what is `None` comes from the settings.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    pub(crate) failures: Option<u32>,
    pub(crate) open_for: Option<Duration>,
    pub(crate) window: Option<Duration>,
    pub(crate) name: Option<LitStr>,
}

/// A fallback.
#[derive(Debug)]
pub(crate) struct Fallback {
    pub(crate) function: Function,
    pub(crate) message: MessageParam,
}

/// Which attribute the handler carries, and what it says.
#[derive(Debug)]
pub(crate) enum HandlerKind {
    Command,
    Query,
    Event { mode: EventMode, order: i32 },
    Link,
}

/// How an event handler runs.
#[derive(Debug)]
pub(crate) enum EventMode {
    Plain,
    Inline,
    Durable(Retry),
    Group(Group),
}

/// A retry policy; what is `None` comes from the settings.
#[derive(Debug, Default)]
pub(crate) struct Retry {
    pub(crate) max: Option<u32>,
    pub(crate) first: Option<Duration>,
    pub(crate) factor: Option<f64>,
    pub(crate) ceiling: Option<Duration>,
}

/// A consumer group.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) name: LitStr,
    pub(crate) topic: Option<LitStr>,
    pub(crate) concurrency: Option<u32>,
    pub(crate) batch: Option<u32>,
    pub(crate) retry: Retry,
    pub(crate) on_dead: Option<OnDead>,
    pub(crate) unknown: Option<OnUnknown>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum OnDead {
    Park,
    Skip,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum OnUnknown {
    Skip,
    Dead,
}
