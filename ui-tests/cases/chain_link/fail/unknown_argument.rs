// An argument that links do not have.
use cqrs::prelude::*;

#[derive(Command, Clone)]
struct Pay;

#[chain_link(order = 1)]
async fn by_card(cmd: Pay) -> Link<Pay> {
    Link::Pass(cmd)
}

fn main() {}
