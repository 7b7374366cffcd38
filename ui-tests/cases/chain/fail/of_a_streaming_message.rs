// A chain answers once: a message that yields items has none.
use cqrs::prelude::*;

#[derive(Command, Clone)]
#[command(item = u32)]
struct ImportOrders;

#[chain_link]
async fn from_file(cmd: ImportOrders) -> Link<ImportOrders> {
    Link::Pass(cmd)
}

#[chain_link]
async fn from_network(_cmd: ImportOrders) -> Link<ImportOrders> {
    Link::Answer(())
}

cqrs::chain!(ImportOrders => [from_file, from_network]);

fn main() {}
