//! All rules. Raw input becomes the [`model`](crate::model), or errors in a [`Sink`](crate::diag::Sink); no tokens are
//! made here.

mod args;
mod event;
mod handler;
mod message;
mod policy;
mod problem;
mod saga;
mod signature;
mod values;
mod wiring;

pub(crate) use self::handler::{fallback, handler, named_part};
pub(crate) use self::message::message;
pub(crate) use self::problem::problem;
pub(crate) use self::saga::{compensation, saga, saga_step};
pub(crate) use self::wiring::{middleware, provider};
