// A kind of call that is none, but nearly.
use cqrs::prelude::*;

#[middleware(kinds = [command, querry])]
async fn audit(call: Call<'_>, next: Next<'_>) -> Outcome {
    drop(call);
    next.run().await
}

fn main() {}
