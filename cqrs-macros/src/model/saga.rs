//! Sagas, their steps, and the way back.

use std::time::Duration;

use syn::{Attribute, LitStr, Type};

use super::{Function, Message, MessageParam, Policy, Retry};
use crate::parse::{Back, Fields, WrittenStep};

/// A saga. Where its steps are in error, its context is one all the same.
#[derive(Debug)]
pub(crate) struct Saga {
    pub(crate) context: Message,
    /// The type's `#[cfg(..)]`s.
    pub(crate) cfgs: Vec<Attribute>,
    /// A later version takes over what is stored of it: nothing is started of it any more.
    pub(crate) is_retired: bool,
    /// How many of it one process goes on with at once.
    pub(crate) concurrency: Option<u32>,
    /// How many of it one process takes on in a time.
    pub(crate) rate: Option<Rate>,
    pub(crate) places: Option<Vec<Place>>,
}

/// So many in such a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) count: u32,
    pub(crate) per: Duration,
}

/// A place in the list of steps.
#[derive(Debug)]
pub(crate) enum Place {
    One(Step),
    Group(Vec<Step>),
}

/// A step as a saga names it.
pub(crate) type Step = WrittenStep;

/// A step.
#[derive(Debug)]
pub(crate) struct SagaStep {
    pub(crate) function: Function,
    pub(crate) context: MessageParam,
    /// What it is stored by, where that is not the function's name.
    pub(crate) name: Option<LitStr>,
    /// What surrounds one attempt; its retries are the store's.
    pub(crate) policy: Policy,
    pub(crate) retry: Retry,
    pub(crate) back: Option<Back>,
    pub(crate) is_pivot: bool,
    pub(crate) awaits: Option<Awaits>,
}

/// The event that a step waits for.
#[derive(Debug)]
pub(crate) struct Awaits {
    pub(crate) event: Type,
    /// The type of the second parameter, without the `&`.
    pub(crate) param: Type,
    pub(crate) by: Fields,
    pub(crate) timeout: Option<Duration>,
    pub(crate) group: Option<LitStr>,
}

/// A compensation.
#[derive(Debug)]
pub(crate) struct Compensation {
    pub(crate) function: Function,
    pub(crate) context: MessageParam,
    pub(crate) retry: Retry,
}
