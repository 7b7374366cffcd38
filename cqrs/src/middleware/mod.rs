//! Middleware: functions around every call of the kinds they name.
//!
//! A middleware sees a call and its outcome, never the typed result, which stays with the caller.

mod call;
mod chain;
mod fault;
mod outcome;

pub(crate) use self::call::MessageCell;
pub use self::call::{Call, CallKind};
pub use self::chain::Next;
pub(crate) use self::chain::{Chain, Link, Terminal};
pub(crate) use self::fault::Fault;
pub use self::outcome::Outcome;
pub(crate) use self::outcome::Refusal;
