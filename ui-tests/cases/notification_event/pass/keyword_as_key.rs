// A field whose name is a keyword, without its `r#`.
use cqrs::prelude::*;

#[derive(NotificationEvent)]
#[event(key = type)]
struct OrderPlaced {
    r#type: u64,
}

fn main() {}
