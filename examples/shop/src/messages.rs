//! What the shop understands and what it tells: commands, queries, events, refusals.

use cqrs::prelude::*;
use cqrs::{BoxError, Problem, SagaError};
use serde::{Deserialize, Serialize};

/// Places an order. The client chooses the id, so that asking again after a lost answer is not a second order.
#[derive(Command, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[command(response = Order, error = ShopError)]
pub struct PlaceOrder {
    pub id: String,
    pub customer: String,
    pub lines: Vec<Line>,
}

/// Buys what was ordered: begins the checkout, or joins it.
#[derive(Command, Debug, Serialize, Deserialize)]
#[command(response = Order, error = ShopError)]
pub struct CheckOut(pub PayOrder);

/// Pays, as a step of the checkout: with a gift card as far as it goes, then with a card, else by invoice.
#[derive(Command, Debug, Clone, Serialize, Deserialize)]
#[command(error = ShopError)]
pub struct PayOrder {
    pub id: String,
    pub gift_card: Option<String>,
    /// The bank's token, not the number: it is logged and stored.
    pub card: Option<String>,
}

#[derive(Command, Debug, Serialize, Deserialize)]
#[command(response = Order, error = ShopError)]
pub struct CancelOrder(pub String);

/// Places many orders, each in a unit of work of its own: one that is refused stops no other.
#[derive(Command, Debug, Deserialize)]
#[command(item = Imported)]
pub struct ImportOrders(pub Vec<serde_json::Value>);

/// What became of an order: its place in the import, counted from 1, and its id or why not.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Imported {
    Accepted { line: u64, id: String },
    Refused { line: u64, reason: &'static str, why: String },
}

#[derive(Query, Debug, Deserialize)]
#[query(response = Order, error = ShopError)]
pub struct GetOrder(pub String);

/// The latest orders, newest first.
#[derive(Query, Debug, Deserialize)]
#[query(response = Vec<Order>, error = ShopError)]
pub struct ListOrders {
    pub limit: Option<u32>,
}

/// What lines would cost today. It binds nobody: orders are placed at the listed price.
#[derive(Query, Debug, Clone, Deserialize)]
#[query(response = Quote, error = ShopError)]
pub struct GetQuote {
    pub lines: Vec<Line>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Quote {
    pub total_cents: i64,
    pub price: &'static str,
}

/// What was asked for, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    #[serde(flatten)]
    pub placed: PlaceOrder,
    pub status: Status,
    pub total_cents: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Line {
    pub sku: String,
    pub quantity: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, strum::Display, strum::EnumString)]
#[strum(serialize_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Placed,
    Paid,
    Cancelled,
}

/// Stays in the service: the customer gets a mail.
#[derive(DomainEvent, Debug, Clone, Serialize, Deserialize)]
pub struct OrderPlaced(pub Order);

/// Leaves the service. `key`: what is told about one order arrives in order.
#[derive(NotificationEvent, Debug, Serialize, Deserialize)]
#[event(name = "order_shipped", topic = "orders", key = id)]
pub struct OrderShippedV1 {
    pub id: String,
    pub lines: Vec<Line>,
}

pub(crate) type Result<T, E = ShopError> = std::result::Result<T, E>;

/// Why the shop says no: a detail for people; a type for programs, whose last word is the variant's name for statistics.
#[derive(Debug, thiserror::Error, strum::IntoStaticStr, Problem, Serialize, Deserialize)]
#[strum(serialize_all = "snake_case")]
pub enum ShopError {
    #[error("`{0}`: {1}")]
    #[problem(status = 422, type = "urn:shop:invalid")]
    Invalid(String, String),
    #[error("{wanted} of `{sku}` wanted, {on_hand} on hand")]
    #[problem(status = 409, type = "urn:shop:out_of_stock")]
    OutOfStock { sku: String, wanted: i64, on_hand: i64 },
    #[error("`id`: another order has the id `{0}`; choose one that no other has")]
    #[problem(status = 409, type = "urn:shop:id_taken")]
    IdTaken(String),
    #[error("there is no order `{0}`")]
    #[problem(status = 404, type = "urn:shop:no_such_order")]
    NoSuchOrder(String),
    #[error("order `{0}` is {1} already")]
    #[problem(status = 409, type = "urn:shop:concluded")]
    Concluded(String, Status),
    #[error("another payment of order `{0}` is under way; wait for it")]
    #[problem(status = 409, type = "urn:shop:under_way")]
    UnderWay(String),
    #[error("invoices go up to {limit} cents, and {due} are due; give a `card`")]
    #[problem(status = 409, type = "urn:shop:over_limit")]
    OverLimit { due: i64, limit: i64 },
    // What went wrong inside is for the log, not for strangers: a 500 without its text.
    #[error("the price list failed")]
    #[serde(skip)]
    PriceList(#[from] std::io::Error),
    #[error("the database failed")]
    #[serde(skip)]
    Database(#[from] sqlx::Error),
    #[error("the payment failed")]
    #[serde(skip)]
    Payment(#[source] BoxError),
    #[error("the checkout failed")]
    #[problem(transparent)]
    #[serde(skip)]
    Checkout(#[from] SagaError),
}
