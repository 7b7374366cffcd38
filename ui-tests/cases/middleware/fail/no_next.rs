// A middleware that takes only the call.
use cqrs::prelude::*;

#[middleware]
async fn audit(_call: Call<'_>) -> Outcome {
    todo!()
}

fn main() {}
