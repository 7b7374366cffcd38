// A `StepKey` is a step's.
use cqrs::prelude::*;

#[derive(Command)]
struct Pay;

#[command_handler]
async fn pay(_cmd: Pay, _key: StepKey) {}

fn main() {}
