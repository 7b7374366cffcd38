// A key with a raw name.
use cqrs::prelude::*;

#[derive(NotificationEvent)]
#[event(key = r#type)]
struct Stocked {
    r#type: String,
}

fn main() {}
