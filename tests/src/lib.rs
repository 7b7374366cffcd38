//! Integration tests; each area is one binary: see the folders beside `src`. Here is what several of them need: real servers,
//! started by the tests that use them, and stores that store nothing.

pub mod kafka;
pub mod page;
pub mod proxy;
pub mod python;
pub mod rabbit;
pub mod redis;
pub mod services;
mod stores;
mod waiting;

pub use waiting::until;
