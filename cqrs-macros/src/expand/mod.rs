//! Model to tokens. Nothing here can fail: what could be wrong was refused before.
//!
//! Generated code is thin on purpose, since every handler pays for it in compile time: what does not need the user's
//! types is in `cqrs::__private`. Standard names are absolute, so that a user's own `Result`, `Option` or `Box` is no
//! obstacle.

mod handler;
mod message;
mod part;
mod policy;
mod problem;
mod registration;
mod saga;
mod step;
mod thunk;
mod types;
mod wiring;

pub(crate) use self::handler::handler;
pub(crate) use self::message::{Reader, message};
pub(crate) use self::part::{broken_part, fallback};
pub(crate) use self::problem::problem;
pub(crate) use self::saga::saga;
pub(crate) use self::step::{compensation, saga_step};
pub(crate) use self::wiring::{middleware, provider};
