//! The core: dispatch, events, units of work, stored work, on SQLite and the memory broker.

mod calls;
mod commit;
mod dead;
mod durable;
mod events;
mod handlers;
mod inbox;
mod keys;
mod nested;
mod scope;
mod smoke;
mod support;
mod wired;
