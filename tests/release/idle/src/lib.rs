//! A crate that registers nothing.
