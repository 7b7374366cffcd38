// A provider of nothing.
use cqrs::prelude::*;

#[provider]
fn prices() {}

fn main() {}
