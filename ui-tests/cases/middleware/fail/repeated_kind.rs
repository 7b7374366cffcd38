// A kind of call named twice.
use cqrs::prelude::*;

#[middleware(kinds = [command, command])]
async fn audit(call: Call<'_>, next: Next<'_>) -> Outcome {
    drop(call);
    next.run().await
}

fn main() {}
