// Six parameters, one more than are taken by a function of their own.
use cqrs::prelude::*;

#[derive(Command)]
#[command(error = String)]
struct Pay;

#[command_handler(fallback = by_hand)]
async fn pay(_cmd: &Pay) -> Result<(), String> {
    Ok(())
}

#[fallback]
async fn by_hand(
    _cmd: &Pay,
    _cause: Cause<String>,
    _a: Inject<u8>,
    _b: Inject<u16>,
    _c: Inject<u32>,
    _meta: &Meta,
    _events: &mut Events,
) {
}

fn main() {}
