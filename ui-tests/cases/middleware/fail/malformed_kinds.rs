// Kinds without brackets.
use cqrs::prelude::*;

#[middleware(kinds = command)]
async fn audit(call: Call<'_>, next: Next<'_>) -> Outcome {
    drop(call);
    next.run().await
}

fn main() {}
