// A provider that holds an `Rc` across an `await`.
use cqrs::prelude::*;

async fn other() {}

#[provider]
async fn prices() -> u64 {
    let shared = std::rc::Rc::new(1);
    other().await;
    *shared
}

fn main() {}
