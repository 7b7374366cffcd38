// A chain for an event, which has no single answer.
use cqrs::prelude::*;

#[derive(DomainEvent)]
struct Paid;

#[derive(Command)]
struct Pay;

#[chain_link]
async fn by_card(cmd: Pay) -> Link<Pay> {
    Link::Pass(cmd)
}

cqrs::chain!(Paid => [by_card, by_card]);

fn main() {}
