// `Next` before `Call`: neither is what its place asks for.
use cqrs::prelude::*;

#[middleware]
async fn audit(next: Next<'_>, _call: Call<'_>) -> Outcome {
    next.run().await
}

fn main() {}
