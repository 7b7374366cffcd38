//! Integration tests; each area is one binary: see the folders beside `src`. Here is what several of them need: real servers,
//! started by the tests that use them, and stores that store nothing.

pub mod proxy;
pub mod rabbit;
pub mod redis;
mod stores;
