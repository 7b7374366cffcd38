// A crate path that means something else in every module.
use cqrs::prelude::*;

#[derive(Command)]
#[command(crate = cqrs)]
struct PlaceOrder;

fn main() {}
