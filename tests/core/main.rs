//! The core: dispatch, events, units of work, stored work, on SQLite and the memory broker.

mod smoke;
