// A middleware that returns no outcome.
use cqrs::prelude::*;

#[middleware]
async fn audit(_call: Call<'_>, next: Next<'_>) {
    next.run().await;
}

fn main() {}
