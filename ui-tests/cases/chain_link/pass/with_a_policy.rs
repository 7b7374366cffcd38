// A link with everything that surrounds its attempts.
use cqrs::prelude::*;

#[derive(Command, Clone)]
struct Pay;

#[chain_link(fallback = by_hand, on = [&"down"], timeout = "1s", retry(max = 2), breaker(name = "bank"))]
async fn by_card(cmd: Pay) -> Result<Link<Pay>, &'static str> {
    Ok(Link::Pass(cmd))
}

#[fallback]
async fn by_hand(_cmd: &Pay, _cause: Cause<&'static str>) -> Result<Link<Pay>, cqrs::BoxError> {
    Ok(Link::Answer(()))
}

fn main() {}
