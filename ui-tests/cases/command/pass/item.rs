// A streaming command.
use cqrs::prelude::*;

#[derive(Command)]
#[command(item = u64, error = String)]
struct Import;

#[command_handler]
async fn import(_cmd: Import, items: &mut Items<u64>) -> Result<(), String> {
    items.send(1).await;
    Ok(())
}

fn main() {}
