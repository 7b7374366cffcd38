//! Chapters that are tested as documentation: what a reader is shown is compiled and run.
//!
//! The README, and the page for those who come from python-cqrs. Code that registers handlers is marked `standalone_crate`: other documentation tests share one
//! program, and with it one registry.

#[cfg(all(doctest, feature = "testing"))]
#[doc = include_str!("../../../README.md")]
struct Readme;

#[cfg(all(doctest, feature = "postgres"))]
#[doc = include_str!("../../../docs/coming-from-python-cqrs.md")]
struct ComingFromPythonCqrs;
