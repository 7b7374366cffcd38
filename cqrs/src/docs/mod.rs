//! Chapters that are tested as documentation: what a reader is shown is compiled and run.
//!
//! Only the README so far. Code that registers handlers is marked `standalone_crate`: other documentation tests share one
//! program, and with it one registry.

#[cfg(all(doctest, feature = "testing"))]
#[doc = include_str!("../../../README.md")]
struct Readme;
