// The way out by value.
use cqrs::prelude::*;

#[derive(Command)]
#[command(item = u8)]
struct Import;

#[command_handler]
async fn import(_cmd: Import, _items: Items<u8>) {}

fn main() {}
