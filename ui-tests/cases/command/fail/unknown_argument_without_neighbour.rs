// An argument that resembles none of the accepted ones.
use cqrs::prelude::*;

#[derive(Command)]
#[command(idempotent = true)]
struct PlaceOrder;

fn main() {}
