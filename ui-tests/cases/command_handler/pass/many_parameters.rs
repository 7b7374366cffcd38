// More parameters than are taken by a function of their own, references among them.
use cqrs::prelude::*;
use cqrs::sqlx::Sqlite;

#[derive(Command)]
struct PlaceOrder;

#[command_handler]
async fn place_order<'c>(
    _cmd: &'c PlaceOrder,
    _a: Inject<u8>,
    _b: Inject<u16>,
    _c: Inject<u32>,
    _d: Inject<u64>,
    _tx: &'c mut Tx<Sqlite>,
    _e: Inject<i8>,
    _f: Inject<i16>,
    _meta: &Meta,
    _g: Inject<i32>,
    _events: &mut Events,
) {
}

fn main() {}
