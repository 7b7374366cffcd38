// A response beside an item: a command answers once or streams.
use cqrs::prelude::*;

#[derive(Command)]
#[command(response = u64, item = String)]
struct Import;

fn main() {}
