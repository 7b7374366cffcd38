// An error that borrows.
use cqrs::prelude::*;

#[derive(Command)]
#[command(error = std::borrow::Cow<'_, str>)]
struct PlaceOrder;

fn main() {}
