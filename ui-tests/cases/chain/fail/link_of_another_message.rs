// A link that takes another message than its chain.
use cqrs::prelude::*;

#[derive(Command, Clone)]
struct Pay;

#[derive(Command)]
struct Refund;

#[chain_link]
async fn by_card(cmd: Pay) -> Link<Pay> {
    Link::Pass(cmd)
}

#[chain_link]
async fn to_card(_cmd: Refund) -> Link<Refund> {
    Link::Answer(())
}

cqrs::chain!(Pay => [by_card, to_card]);

fn main() {}
