// The same behind an alias: the return type is blamed.
use cqrs::prelude::*;

type Failure<'a> = Box<dyn std::error::Error + Send + Sync + 'a>;

#[derive(Command)]
struct PlaceOrder;

#[command_handler]
async fn place_order(_cmd: &PlaceOrder) -> Result<(), Failure<'_>> {
    Ok(())
}

fn main() {}
