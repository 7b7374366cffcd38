// A command that is run after the commit is stored until then.
use cqrs::prelude::*;

#[derive(Command)]
struct SendInvoice;

#[derive(Command)]
struct PlaceOrder;

#[command_handler]
async fn place_order(_cmd: PlaceOrder, events: &mut Events) {
    events.send(SendInvoice);
}

fn main() {}
