// `on` on a handler that cannot fail.
use cqrs::prelude::*;

#[derive(Command)]
struct Wake;

#[command_handler(retry(max = 2), on = [_])]
async fn wake(_cmd: &Wake) {}

fn main() {}
