// The attribute on an `impl`.
use cqrs::prelude::*;

struct Orders;

#[command_handler]
impl Orders {}

fn main() {}
