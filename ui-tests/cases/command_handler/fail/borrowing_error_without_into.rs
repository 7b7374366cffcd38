// An error that borrows, and is not `Into` the command's.
use cqrs::prelude::*;

#[derive(Command)]
struct PlaceOrder(String);

struct Refused<'a>(&'a str);

#[command_handler]
async fn place_order(cmd: &PlaceOrder) -> Result<(), Refused<'_>> {
    Err(Refused(&cmd.0))
}

fn main() {}
