// A provider of `impl Trait`.
use cqrs::prelude::*;

#[provider]
fn prices() -> impl Send {}

fn main() {}
