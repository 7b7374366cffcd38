// By value, and not `Clone`: where nothing follows a failed attempt, the attempt has the message.
use cqrs::prelude::*;

#[derive(Command)]
struct Import(Vec<u8>);

#[command_handler(timeout = "2s", breaker(failures = 3))]
async fn import(cmd: Import) {
    drop(cmd.0);
}

#[derive(Query)]
#[query(item = u8)]
struct Feed(u8);

#[query_handler(timeout = "2s")]
async fn feed(q: Feed, items: &mut Items<u8>) {
    items.send(q.0).await;
}

fn main() {}
