// `Cause` in a handler that is no fallback.
use cqrs::prelude::*;

#[derive(Command, Clone)]
struct Pay;

#[command_handler]
async fn pay(_cmd: Pay, _cause: Cause<String>) {}

fn main() {}
