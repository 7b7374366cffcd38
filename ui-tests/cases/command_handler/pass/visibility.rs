// Of every visibility.
use cqrs::prelude::*;

mod orders {
    use super::*;

    #[derive(Command)]
    pub(super) struct PlaceOrder;

    #[command_handler]
    pub(in super::orders) async fn place_order(_cmd: PlaceOrder) {}
}

#[command_handler]
pub(crate) async fn pay_order(_cmd: PayOrder) {}

#[derive(Command)]
pub(crate) struct PayOrder;

fn main() {}
