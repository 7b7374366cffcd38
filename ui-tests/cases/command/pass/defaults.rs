// No attribute at all: response `()`, error `BoxError`.
use cqrs::prelude::*;

#[derive(Command)]
struct Wake;

#[command_handler]
async fn wake(_cmd: Wake) -> Result<(), cqrs::BoxError> {
    Err("too early".into())
}

fn main() {}
