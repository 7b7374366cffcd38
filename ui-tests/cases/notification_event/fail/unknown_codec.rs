// A codec that there is not.
use cqrs::prelude::*;

#[derive(NotificationEvent)]
#[event(codec = "avro")]
struct OrderPlaced;

fn main() {}
