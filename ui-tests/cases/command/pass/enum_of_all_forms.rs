// An enum with every form of variant.
use cqrs::prelude::*;

#[derive(Command)]
enum Change {
    _Nothing,
    _Amount(u64),
    _Name { _name: String },
}

fn main() {}
