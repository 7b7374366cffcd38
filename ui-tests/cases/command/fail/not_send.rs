// A field that threads cannot share: one error, and none where the command is sent.
use cqrs::prelude::*;

#[derive(Command)]
struct PlaceOrder {
    items: std::rc::Rc<Vec<String>>,
}

async fn sent(app: &App, cmd: PlaceOrder) -> Result<(), cqrs::BoxError> {
    Ok(app.send(cmd).await?)
}

fn main() {}
