// Some kinds, an order and a dependency.
use cqrs::prelude::*;

#[middleware(order = 10, kinds = [command, query])]
async fn audit(call: Call<'_>, next: Next<'_>, log: Inject<u64>) -> Outcome {
    let _ = (call, log);
    next.run().await
}

fn main() {}
