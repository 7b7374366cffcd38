// A wrong link is one error: a chain of it is none.
use cqrs::prelude::*;

#[derive(Command)]
struct Pay;

#[chain_link]
async fn by_card(cmd: Pay) -> Link<Pay> {
    Link::Pass(cmd)
}

#[chain_link]
fn by_invoice(cmd: Pay) -> Link<Pay> {
    Link::Pass(cmd)
}

cqrs::chain!(Pay => [by_card, by_invoice]);

fn main() {}
