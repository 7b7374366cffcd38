// A provider of nothing.
use cqrs::prelude::*;

#[provider]
fn nothing() -> () {}

fn main() {}
