//! The web module: requests in, answers, problems and server-sent events out; through axum's router, and over sockets where
//! the connection matters.

mod answers;
mod extract;
mod hangup;
mod idempotency;
mod input;
mod limits;
mod problems;
mod slow;
mod sse;
mod stop;
mod support;
