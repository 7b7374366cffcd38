// A chain that lists a type which is no link.
use cqrs::prelude::*;

#[derive(Command, Clone)]
struct Pay;

struct ByHand;

#[chain_link]
async fn by_card(cmd: Pay) -> Link<Pay> {
    Link::Pass(cmd)
}

cqrs::chain!(Pay => [by_card, ByHand]);

fn main() {}
