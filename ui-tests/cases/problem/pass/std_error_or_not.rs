// An error that is a `std::error::Error`, and one of a message that is none.
use cqrs::prelude::*;

#[derive(Debug, cqrs::Problem)]
#[problem(status = 409)]
struct Declined;

impl std::fmt::Display for Declined {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("declined")
    }
}

impl std::error::Error for Declined {}

#[derive(Command)]
#[command(error = Declined)]
struct Pay;

#[derive(Command)]
#[command(error = String)]
struct PayBlindly;

fn main() {}
