// A command that borrows.
use cqrs::prelude::*;

#[derive(Command)]
struct PlaceOrder<'a> {
    _customer: &'a str,
}

fn main() {}
