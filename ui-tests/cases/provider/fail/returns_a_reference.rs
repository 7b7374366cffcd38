// A provider that gives away what it borrows.
use cqrs::prelude::*;

#[provider(scope = "message")]
fn language(meta: &Meta) -> &str {
    meta.header("language").unwrap_or("en")
}

fn main() {}
