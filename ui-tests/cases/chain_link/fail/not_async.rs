// A link that is not async.
use cqrs::prelude::*;

#[derive(Command, Clone)]
struct Pay;

#[chain_link]
fn by_card(cmd: Pay) -> Link<Pay> {
    Link::Pass(cmd)
}

fn main() {}
