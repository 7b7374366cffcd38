// A generic command, handled in a concrete instance.
use cqrs::prelude::*;

#[derive(Command)]
#[command(response = T, error = String)]
struct Echo<T: Clone>
where
    T: std::fmt::Debug,
{
    it: T,
}

#[command_handler]
async fn echo(cmd: Echo<u8>) -> Result<u8, String> {
    Ok(cmd.it)
}

fn main() {}
