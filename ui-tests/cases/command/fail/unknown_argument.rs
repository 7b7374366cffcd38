// An argument that `#[command(..)]` does not know, but nearly.
use cqrs::prelude::*;

#[derive(Command)]
#[command(respnse = u64)]
struct PlaceOrder;

fn main() {}
