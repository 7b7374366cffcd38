// No kind of call at all.
use cqrs::prelude::*;

#[middleware(kinds = [])]
async fn audit(call: Call<'_>, next: Next<'_>) -> Outcome {
    drop(call);
    next.run().await
}

fn main() {}
