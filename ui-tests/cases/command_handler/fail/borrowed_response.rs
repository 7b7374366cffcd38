// A response that is borrowed from the command.
use cqrs::prelude::*;

#[derive(Command)]
#[command(response = &'static str)]
struct Rename(String);

#[command_handler]
async fn rename(cmd: &Rename) -> &str {
    &cmd.0
}

fn main() {}
