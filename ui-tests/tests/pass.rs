//! Every pass case as a module: that this compiles is the test.

#![allow(dead_code, clippy::pedantic, clippy::restriction, reason = "cases are written for their readers")]

include!(concat!(env!("OUT_DIR"), "/pass.rs"));
