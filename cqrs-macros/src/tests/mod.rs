//! What can be seen without a compiler: expansions as files, and errors by text and order.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod errors;
mod expansions;
mod inputs;
