//! The servers for tests, themselves tested: what `tests/services` promises to those who break servers. Redis and NATS stand
//! for all here, since they start quickly, and PostgreSQL for those that are several processes.

mod breaking;
mod ending;
mod given;
mod support;
