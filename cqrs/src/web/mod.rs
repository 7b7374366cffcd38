#![doc = include_str!("../docs/web.md")]
//
// `endpoint` serves commands and queries, `sse` streams, which `watched` ends in time. `intake` reads a request with `parameters`, `body`, `trace`,
// `last_event_id` and `idempotency`; `failure` is the table of what a client is told of a failed call, `problem` its form, `sagas` what
// one of a saga says, `known` how an error is recognised.

mod body;
mod endpoint;
mod extract;
mod failure;
pub(crate) mod idempotency;
mod intake;
pub(crate) mod known;
mod last_event_id;
mod parameters;
mod problem;
mod sagas;
mod sse;
mod trace;
mod watched;

pub use self::endpoint::{Endpoint, command, query};
#[doc(inline)]
pub use self::problem::{Problem, ProblemDetails};
pub use self::sse::{SseEndpoint, sse};
