// `impl Trait` as the response.
use cqrs::prelude::*;

#[derive(Command)]
#[command(response = impl Clone)]
struct PlaceOrder;

fn main() {}
