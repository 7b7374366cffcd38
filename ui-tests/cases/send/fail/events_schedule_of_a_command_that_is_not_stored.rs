// A command that is run later is stored until then.
use cqrs::prelude::*;

#[derive(Command)]
struct Remind;

#[derive(Command)]
struct PlaceOrder;

#[command_handler]
async fn place_order(_cmd: PlaceOrder, events: &mut Events) {
    events.schedule(Remind).after(std::time::Duration::from_secs(60));
}

fn main() {}
