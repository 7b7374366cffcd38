//! The web module: requests in, answers, problems and server-sent events out; through axum's router, and over sockets where
//! the connection matters.

mod answers;
mod client;
mod extract;
mod hangup;
mod idempotency;
mod input;
mod layers;
mod limits;
mod problems;
mod slow;
mod sse;
mod stop;
#[path = "../core/support.rs"]
#[allow(dead_code, reason = "shared with the core's tests, which use all of it")]
mod support;

/// What the handlers of this binary need besides a probe.
fn complete(builder: cqrs::Builder) -> cqrs::Builder {
    builder.elsewhere::<problems::HandledElsewhere>()
}
