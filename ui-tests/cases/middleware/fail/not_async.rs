// A middleware that is not `async`.
use cqrs::prelude::*;

#[middleware]
fn audit(_call: Call<'_>, _next: Next<'_>) -> Outcome {
    todo!()
}

fn main() {}
