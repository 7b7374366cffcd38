//! Handlers only, under the framework's own name; some of them written by a macro.

mod numbered;

use cqrs::prelude::*;
use messages::{Log, Parcels, Settle, Ship, Shipped, Track};

#[command_handler]
async fn ship(cmd: Ship, events: &mut Events, log: Inject<Log>) {
    log.note(format!("shipping: parcel {}", cmd.parcel));
    events.raise(Shipped { parcel: cmd.parcel });
}

#[query_handler]
async fn track(q: &Track) -> String {
    format!("parcel {} is on its way", q.0)
}

#[query_handler]
async fn parcels(q: Parcels, items: &mut Items<u64>) {
    for parcel in 0..q.count {
        items.send(parcel).await;
    }
}

#[event_handler]
async fn label(e: &Shipped, log: Inject<Log>) {
    log.note(format!("shipping: label for parcel {}", e.parcel));
}

#[event_handler(order = 1)]
async fn tell(e: &Shipped, log: Inject<Log>) {
    log.note(format!("shipping: the customer knows of parcel {}", e.parcel));
}

#[middleware(kinds = [query])]
async fn counted(call: Call<'_>, next: Next<'_>, log: Inject<Log>) -> Outcome {
    log.note(format!("shipping: {} asked", call.name()));
    next.run().await
}

#[chain_link]
async fn on_delivery(cmd: Settle, log: Inject<Log>) -> Link<Settle> {
    log.note(format!("shipping: {} are paid on delivery", cmd.cents));
    Link::Answer("on delivery")
}

cqrs::chain!(Settle => [billing::by_credit, on_delivery]);
