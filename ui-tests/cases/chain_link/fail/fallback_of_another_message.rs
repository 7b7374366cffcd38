// The fallback of a link is for another message.
use cqrs::prelude::*;

#[derive(Command, Clone)]
struct Pay;

#[derive(Command, Clone)]
struct Refund;

#[chain_link(fallback = by_hand)]
async fn by_card(_cmd: &Pay) -> Link<Pay> {
    Link::Answer(())
}

#[fallback]
async fn by_hand(_cmd: &Refund) -> Link<Refund> {
    Link::Answer(())
}

fn main() {}
