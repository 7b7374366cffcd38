// A handler without its command.
use cqrs::prelude::*;

#[command_handler]
async fn place_order() {}

fn main() {}
