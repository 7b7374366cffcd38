//! What a service's files begin with: `use cqrs::prelude::*;`.
//!
//! Brings neither serde nor sqlx, and shadows no name of std's prelude.

pub use crate::{
    App, Begin, Breakers, Broker, Call, DispatchError, Events, Inject, Items, Meta, Next, Outcome, Settings, Store, Tx,
};
pub use crate::{
    Command, DomainEvent, NotificationEvent, Query, command_handler, event_handler, middleware, provider, query_handler,
};
