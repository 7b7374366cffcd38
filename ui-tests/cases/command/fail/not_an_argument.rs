// A type where an argument has to be.
use cqrs::prelude::*;

#[derive(Command)]
#[command(Result<u64, String>)]
struct PlaceOrder;

fn main() {}
