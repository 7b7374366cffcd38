// An error type that cannot be shown.
use cqrs::prelude::*;

#[derive(Debug)]
struct Refused;

#[derive(Command)]
#[command(error = Refused)]
struct PlaceOrder;

fn main() {}
