// A link that holds an `Rc` while it waits.
use cqrs::prelude::*;

#[derive(Command, Clone)]
struct Pay;

#[chain_link]
async fn by_card(_cmd: Pay) -> Link<Pay> {
    let held = std::rc::Rc::new(());
    std::future::ready(()).await;
    drop(held);
    Link::Answer(())
}

fn main() {}
