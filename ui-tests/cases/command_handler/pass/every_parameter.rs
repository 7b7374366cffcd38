// Every parameter a command handler can take.
use cqrs::prelude::*;
use cqrs::sqlx::Sqlite;

#[derive(Command)]
#[command(item = u64)]
struct Import;

trait Prices: Send + Sync {}

#[command_handler]
async fn import(
    _cmd: Import,
    _prices: Inject<dyn Prices>,
    _total: Inject<u64>,
    _tx: &mut Tx<Sqlite>,
    _events: &mut Events,
    _meta: &Meta,
    _app: &App,
    _items: &mut Items<u64>,
) {
}

fn main() {}
