// Errors that borrow, and are `Into` the command's.
use cqrs::prelude::*;
use std::borrow::Cow;

#[derive(Command)]
struct PlaceOrder(String);
#[derive(Command)]
struct PayOrder(String);

#[command_handler]
async fn place_order(cmd: &PlaceOrder) -> Result<(), &str> {
    Err(&cmd.0)
}

#[command_handler]
async fn pay_order<'a>(cmd: &'a PayOrder, _meta: &Meta) -> Result<(), Cow<'a, str>> {
    Err(Cow::Borrowed(&cmd.0))
}

fn main() {}
