//! Requests: chains, fallbacks, retries, breakers, deadlines, on SQLite and the memory broker.

mod around;
mod attempts;
mod breakers;
mod chains;
mod diagrams;
mod event_fallbacks;
mod fallbacks;
mod follow_ups;
mod layers;
mod nested_calls;
mod outages;
mod parameters;
mod policies;
mod shared_breakers;
mod stream_fallbacks;
#[path = "../core/support.rs"]
#[allow(dead_code, reason = "shared with the core's tests, which use all of it")]
mod support;
mod traces;

/// What the handlers of this binary need besides a probe.
fn complete(builder: cqrs::Builder) -> cqrs::Builder {
    diagrams::complete(builder)
}
