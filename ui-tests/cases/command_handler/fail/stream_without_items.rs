// A streaming command whose handler has no way out for its items.
use cqrs::prelude::*;

#[derive(Command)]
#[command(item = u32)]
struct ImportOrders;

#[command_handler]
async fn import(_cmd: ImportOrders) {}

fn main() {}
