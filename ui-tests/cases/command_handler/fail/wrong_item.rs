// Items of another type than the derive names.
use cqrs::prelude::*;

#[derive(Command)]
#[command(item = u64)]
struct Import;

#[command_handler]
async fn import(_cmd: Import, _items: &mut Items<String>) {}

fn main() {}
