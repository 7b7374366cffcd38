// A key where there is no field.
use cqrs::prelude::*;

#[derive(NotificationEvent)]
#[event(key = id)]
struct OrderPlaced;

fn main() {}
