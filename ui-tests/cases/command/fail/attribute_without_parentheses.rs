// The attribute as `name = value`.
use cqrs::prelude::*;

#[derive(Command)]
#[command = "PlaceOrder"]
struct PlaceOrder;

fn main() {}
