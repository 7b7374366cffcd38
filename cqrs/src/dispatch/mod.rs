//! Calls: a message goes in, its handler runs in a unit of work, the result comes out.
//!
//! `send` is the future the caller holds, `thunk` what a handler's function is made into, `full` the way of a call that needs more than its handler, `conclude` what
//! follows a handler that succeeded, `idempotent` what surrounds a call with an idempotency key, `detached` why a dropped caller loses nothing after the commit, `deadlock` how a
//! call notices that it would wait for its own caller, `current` which handler is being polled.

mod conclude;
pub(crate) mod current;
pub(crate) mod deadlock;
mod detached;
mod error;
mod flush;
mod full;
mod guard;
mod handler;
mod idempotent;
mod options;
mod publish;
mod send;
#[cfg(test)]
mod tests;
pub(crate) mod thunk;

pub(crate) use self::conclude::{After, Conclusion, commit_and_after, conclude, raised_in, run_plain_handler, undo};
pub(crate) use self::detached::Detached;
pub(crate) use self::error::Failure;
pub use self::error::{DispatchError, DispatchErrorKind};
pub(crate) use self::flush::{lane, records_of};
pub(crate) use self::guard::{Caught, Guarded, caught, poll_caught};
pub(crate) use self::handler::{
    BUSY, Opening, abandon, begin_in_turn, begin_needed, begin_tx, call_with_cell, context as call_context, empty_unit,
    is_busy, is_outage, join_unit, open_unit, span_of, surround,
};
pub(crate) use self::idempotent::kept_since;
pub use self::publish::{Publish, Schedule, TimerId};
pub use self::send::Sending;
pub(crate) use self::thunk::AnyCall;
