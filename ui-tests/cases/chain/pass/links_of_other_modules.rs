// Links in other modules, named by their paths.
use cqrs::prelude::*;

#[derive(Command, Clone)]
struct Pay;

mod cards {
    use super::*;

    #[chain_link]
    pub(super) async fn by_card(cmd: Pay) -> Link<Pay> {
        Link::Pass(cmd)
    }
}

#[chain_link]
async fn by_invoice(_cmd: Pay, _events: &mut Events) -> Result<Link<Pay>, cqrs::BoxError> {
    Ok(Link::Answer(()))
}

cqrs::chain!(Pay => [cards::by_card, by_invoice,]);

fn main() {}
