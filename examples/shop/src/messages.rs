//! What the shop understands and what it tells: commands, queries, events, refusals.

use cqrs::prelude::*;
use serde::{Deserialize, Serialize};

/// Places an order. The client chooses the id, so that asking again after a lost answer is not a second order.
#[derive(Command, Debug, Deserialize)]
#[command(response = Order, error = ShopError)]
pub struct PlaceOrder {
    pub id: String,
    pub customer: String,
    pub lines: Vec<Line>,
}

#[derive(Command, Debug)]
#[command(response = Order, error = ShopError)]
pub struct PayOrder(pub String);

#[derive(Command, Debug)]
#[command(response = Order, error = ShopError)]
pub struct CancelOrder(pub String);

#[derive(Query, Debug)]
#[query(response = Order, error = ShopError)]
pub struct GetOrder(pub String);

/// The latest orders, newest first.
#[derive(Query, Debug, Deserialize)]
#[query(response = Vec<Order>, error = ShopError)]
pub struct ListOrders {
    pub limit: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, sqlx::FromRow)]
pub struct Order {
    pub id: String,
    pub customer: String,
    pub status: Status,
    pub total_cents: i64,
    #[sqlx(json)]
    pub lines: Vec<Line>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    pub sku: String,
    pub quantity: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, sqlx::Type)]
#[serde(rename_all = "lowercase")]
#[sqlx(rename_all = "lowercase")]
pub enum Status {
    Placed,
    Paid,
    Cancelled,
}

/// Stays in the service: the customer gets a mail.
#[derive(DomainEvent, Debug, Clone, Serialize, Deserialize)]
pub struct OrderPlaced(pub Order);

/// Leaves the service. `key`: what is told about one order arrives in order.
#[derive(NotificationEvent, Debug, Clone, Serialize, Deserialize)]
#[event(name = "order_placed", topic = "orders", key = id)]
pub struct OrderPlacedV1 {
    pub id: String,
    pub lines: Vec<Line>,
}

#[derive(NotificationEvent, Debug, Clone, Serialize, Deserialize)]
#[event(name = "order_cancelled", topic = "orders", key = id)]
pub struct OrderCancelledV1 {
    pub id: String,
    pub lines: Vec<Line>,
}

/// Why the shop says no. A variant's name, in `snake_case`, is what programs and statistics go by.
#[derive(Debug, thiserror::Error, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum ShopError {
    #[error("an order needs at least one line")]
    EmptyOrder,
    #[error("the quantity of `{0}` is zero")]
    ZeroQuantity(String),
    #[error("there is no product `{0}`")]
    UnknownSku(String),
    #[error("{wanted} of `{sku}` wanted, {on_hand} on hand")]
    OutOfStock { sku: String, wanted: u32, on_hand: i64 },
    #[error("another order has the id `{0}`")]
    IdTaken(String),
    #[error("there is no order `{0}`")]
    NoSuchOrder(String),
    #[error("order `{0}` is paid")]
    AlreadyPaid(String),
    #[error("order `{0}` is cancelled")]
    AlreadyCancelled(String),
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}
