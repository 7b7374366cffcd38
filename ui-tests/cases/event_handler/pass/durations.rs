// Every unit of a duration, and a whole number as factor.
use cqrs::prelude::*;

#[derive(DomainEvent, Clone)]
struct OrderPlaced;

#[event_handler(durable, retry(first = "1s", ceiling = "7d", factor = 2))]
async fn a(_e: &OrderPlaced) {}

#[event_handler(durable, retry(first = "250ms", ceiling = "5m"))]
async fn b(_e: &OrderPlaced) {}

fn main() {}
