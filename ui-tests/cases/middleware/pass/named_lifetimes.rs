// Lifetimes with names.
use cqrs::prelude::*;

#[middleware]
async fn audit<'a>(_call: Call<'a>, next: Next<'a>) -> Outcome {
    next.run().await
}

fn main() {}
