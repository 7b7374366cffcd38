// A union as a command.
use cqrs::prelude::*;

#[derive(Command)]
union Amount {
    _cents: u64,
    _float: f64,
}

fn main() {}
