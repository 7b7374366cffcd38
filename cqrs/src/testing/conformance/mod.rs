//! What every store and every broker must do, as cases that a driver of yours can be put through as well.

pub mod broker;
pub mod store;
