// Six parameters, one more than are taken by a function of their own.
use cqrs::prelude::*;

#[derive(Command, Clone)]
struct Pay;

#[chain_link(retry(max = 2))]
async fn by_card(
    cmd: Pay,
    _a: Inject<u8>,
    _b: Inject<u16>,
    _c: Inject<u32>,
    _d: Inject<u64>,
    _meta: &Meta,
    _events: &mut Events,
) -> Result<Link<Pay>, cqrs::BoxError> {
    Ok(Link::Pass(cmd))
}

fn main() {}
