// The attribute on a module.
use cqrs::prelude::*;

#[command_handler]
mod orders {}

fn main() {}
