// Every form of what a provider returns.
use cqrs::prelude::*;

use std::sync::Arc;

trait Prices: Send + Sync {}

#[provider]
fn value() -> u8 {
    1
}
#[provider]
fn shared() -> Arc<u16> {
    Arc::new(1)
}
#[provider]
async fn fallible() -> Result<u32, std::io::Error> {
    Ok(1)
}
#[provider]
async fn dynamic() -> Result<Arc<dyn Prices>, cqrs::BoxError> {
    Err("none".into())
}

fn main() {}
