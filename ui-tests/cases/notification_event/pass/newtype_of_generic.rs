// What to do instead of a generic notification event.
use cqrs::prelude::*;

use cqrs::serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
#[serde(crate = "cqrs::serde")]
struct Created<T> {
    it: T,
}

#[derive(NotificationEvent, Serialize, Deserialize)]
#[serde(crate = "cqrs::serde")]
struct UserCreated(Created<u8>);

fn main() {}
