// A middleware that raises events.
use cqrs::prelude::*;

#[middleware]
async fn audit(_call: Call<'_>, next: Next<'_>, _events: &mut Events) -> Outcome {
    next.run().await
}

fn main() {}
