// A middleware around everything.
use cqrs::prelude::*;

#[middleware]
async fn audit(call: Call<'_>, next: Next<'_>) -> Outcome {
    drop(call);
    next.run().await
}

fn main() {}
