//! The core: dispatch, events, units of work, stored work, on SQLite and the memory broker.

mod calls;
mod commit;
mod events;
mod handlers;
mod nested;
mod scope;
mod smoke;
mod support;
mod wired;
