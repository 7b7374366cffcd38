// The handler of an event that threads cannot share has no error of its own.
use cqrs::prelude::*;

#[derive(DomainEvent, Clone)]
struct OrderPlaced(std::rc::Rc<u8>);

#[event_handler]
async fn count(e: OrderPlaced) {
    let _ = e.0;
}

fn main() {}
