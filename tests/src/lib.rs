//! Integration tests; each area is one binary: see the folders beside `src`. Here is what several crates' tests need: real
//! servers, started by the tests that use them.

pub mod proxy;
pub mod redis;
