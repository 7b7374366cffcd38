//! The core: dispatch, events, units of work, stored work, on SQLite and the memory broker.

mod absent;
mod calls;
mod commit;
mod dead;
mod durable;
mod events;
mod files;
mod handlers;
mod inbox;
mod inline_within;
mod keys;
mod leases;
mod meta;
mod middleware;
mod moved_clock;
mod nested;
mod outbox;
mod panics;
mod scope;
mod smoke;
mod stop;
mod streams;
mod support;
mod under_way;
mod whole_attempts;
mod wired;
