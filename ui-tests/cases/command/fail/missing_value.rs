// An argument without its value.
use cqrs::prelude::*;

#[derive(Command)]
#[command(response)]
struct PlaceOrder;

fn main() {}
