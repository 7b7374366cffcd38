//! What a service's files begin with: `use cqrs::prelude::*;`.
//!
//! Brings neither serde nor sqlx, and shadows no name of std's prelude.

pub use crate::{
    App, Apply, Begin, Breakers, Broker, Call, Cause, DispatchError, Events, Inject, Items, Link, Meta, Next, Outcome,
    Settings, StepKey, Store, Tx,
};
pub use crate::{
    Command, DomainEvent, NotificationEvent, Query, chain_link, command_handler, compensation, event_handler, fallback,
    middleware, provider, query_handler, saga, saga_step,
};
