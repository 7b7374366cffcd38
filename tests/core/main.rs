//! The core: dispatch, events, units of work, stored work, on SQLite and the memory broker.

mod absent;
mod at_once;
mod batches;
mod calls;
mod commit;
mod cut_streams;
mod dead;
mod deadlines;
mod dropped;
mod durable;
mod events;
mod files;
mod handlers;
mod idempotency;
mod inbox;
mod inline_within;
mod keys;
mod leases;
mod limits;
mod lost_commits;
mod meta;
mod middleware;
mod moved_clock;
mod nested;
mod operations;
mod orders;
mod outbox;
mod panics;
mod scope;
mod settings;
mod smoke;
mod stop;
mod streams;
mod support;
mod tables;
mod under_way;
mod versions;
mod whole_attempts;
mod wire;
mod wired;

/// What the handlers of this binary need besides a probe.
fn complete(builder: cqrs::Builder) -> cqrs::Builder {
    builder.provide_arc::<dyn scope::Greeter>(std::sync::Arc::new(scope::Plain)).elsewhere::<wired::HandledElsewhere>()
}
