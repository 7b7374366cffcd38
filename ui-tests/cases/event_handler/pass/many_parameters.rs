// Six parameters, one more than are taken by a function of their own, in three modes.
use cqrs::prelude::*;

#[derive(DomainEvent, Clone)]
struct Paid;

#[event_handler]
async fn mail(_e: Paid, _: Inject<u8>, _: Inject<u16>, _: Inject<u32>, _: Inject<u64>, _: &Meta, _: &App) {}

#[event_handler(inline)]
async fn count(_e: &Paid, _: Inject<u8>, _: Inject<u16>, _: Inject<u32>, _: Inject<u64>, _: &Meta, _: &mut Events) {}

#[derive(NotificationEvent, cqrs::serde::Serialize, cqrs::serde::Deserialize)]
#[serde(crate = "cqrs::serde")]
struct Sent;

#[event_handler(group = "mail")]
async fn note(_e: Sent, _: Inject<u8>, _: Inject<u16>, _: Inject<u32>, _: Inject<u64>, _: &Meta, _: &mut Events) {}

fn main() {}
