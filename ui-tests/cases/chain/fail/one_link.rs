// A chain of one link.
use cqrs::prelude::*;

#[derive(Command, Clone)]
struct Pay;

#[chain_link]
async fn by_card(_cmd: Pay) -> Link<Pay> {
    Link::Answer(())
}

cqrs::chain!(Pay => [by_card]);

fn main() {}
