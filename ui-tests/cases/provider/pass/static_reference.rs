// A reference to what is there for ever.
use cqrs::prelude::*;

#[provider]
fn currency() -> &'static str {
    "EUR"
}

fn main() {}
