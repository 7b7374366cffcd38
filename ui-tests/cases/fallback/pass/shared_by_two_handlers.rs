// Two handlers with one fallback, in another module.
use cqrs::prelude::*;

#[derive(DomainEvent)]
struct Paid;

mod by_hand {
    #[cqrs::fallback]
    pub(super) async fn note(_e: &super::Paid, events: &mut cqrs::Events, _cause: cqrs::Cause<String>) {
        let _ = events;
    }
}

#[event_handler(fallback = by_hand::note, timeout = "1s")]
async fn mail(_e: &Paid) -> Result<(), String> {
    Ok(())
}

#[event_handler(inline, fallback = by_hand::note)]
async fn count(_e: &Paid) -> Result<(), String> {
    Ok(())
}

fn main() {}
