//! Every pass case as a module: that this compiles is the test.

#![allow(dead_code, clippy::unused_async, clippy::too_many_arguments, reason = "handlers here do nothing")]

include!(concat!(env!("OUT_DIR"), "/pass.rs"));
