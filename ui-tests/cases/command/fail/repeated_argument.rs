// An argument given twice, in two attributes.
use cqrs::prelude::*;

#[derive(Command)]
#[command(error = String)]
#[command(error = std::io::Error)]
struct PlaceOrder;

fn main() {}
