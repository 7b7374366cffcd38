//! The shop without HTTP: what handlers answer, and what follows.
#![expect(clippy::unwrap_used, reason = "a test that panics is a test that fails")]

use std::io;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use cqrs::prelude::*;
use cqrs::testing::TestApp;
use shop::{CancelOrder, GetOrder, Line, ListOrders, PayOrder, PlaceOrder};
use shop::{Mailer, OrderPlaced, ShopError, Status, app};
use sqlx::Sqlite;
use uuid::Uuid;

/// Remembers mails; the first attempt at each fails when it is told to.
#[derive(Default)]
struct Memory {
    sent: Mutex<Vec<(Uuid, String, String)>>,
    unreachable: Mutex<bool>,
}

#[async_trait]
impl Mailer for Memory {
    async fn send(&self, id: Uuid, to: &str, text: &str) -> io::Result<()> {
        if std::mem::take(&mut *self.unreachable.lock().unwrap()) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        self.sent.lock().unwrap().push((id, to.to_owned(), text.to_owned()));
        Ok(())
    }
}

async fn start() -> (TestApp, Arc<Memory>) {
    let mails = Arc::new(Memory::default());
    let builder = app("moved-by-the-test-kit.db").provide_arc::<dyn Mailer>(mails.clone());
    (TestApp::new(builder).await.unwrap(), mails)
}

fn order<const N: usize>(id: &str, lines: [(&str, u32); N]) -> PlaceOrder {
    let lines = lines.map(|(sku, quantity)| Line { sku: sku.to_owned(), quantity });
    PlaceOrder { id: id.to_owned(), customer: "ada@example.com".to_owned(), lines: lines.into() }
}

async fn on_hand(app: &App, sku: &str) -> i64 {
    let mut unit = app.unit::<Sqlite>().await.unwrap();
    let sql = "SELECT on_hand FROM stock WHERE sku = ?";
    sqlx::query_scalar(sql).bind(sku).fetch_one(&mut **unit.tx()).await.unwrap()
}

#[test]
fn wiring() {
    cqrs::verify!(app("shop.db"));
}

#[tokio::test]
async fn an_order_moves_stock_and_sends_one_mail() {
    let (app, mails) = start().await;
    let before = (on_hand(&app, "tea").await, on_hand(&app, "mug").await);

    let placed = app.send(order("1", [("tea", 2), ("mug", 1)])).await.unwrap();
    assert_eq!((placed.total_cents, placed.status), (2 * 450 + 1200, Status::Placed));
    app.settle().await;

    assert_eq!((on_hand(&app, "tea").await, on_hand(&app, "mug").await), (before.0 - 2, before.1 - 1));
    let mails = mails.sent.lock().unwrap();
    let [(_, to, text)] = mails.as_slice() else { panic!("not one mail: {mails:?}") };
    assert_eq!((to.as_str(), text.contains("order 1.")), ("ada@example.com", true));
}

#[tokio::test]
async fn a_repeated_request_is_one_order() {
    let (app, mails) = start().await;
    let before = on_hand(&app, "tea").await;
    let first = app.send(order("1", [("tea", 2)])).await.unwrap();
    assert_eq!(app.send(order("1", [("tea", 2)])).await.unwrap(), first);
    let other = app.send(order("1", [("tea", 3)])).await.unwrap_err();
    assert!(matches!(other.handler(), Some(ShopError::IdTaken(_))), "{other}");
    app.settle().await;
    assert_eq!(on_hand(&app, "tea").await, before - 2);
    assert_eq!(mails.sent.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn refused_orders_leave_no_trace() {
    let (app, mails) = start().await;
    let before = on_hand(&app, "tea").await;
    let refused = [
        (order("1", []), "empty_order"),
        (order("2", [("tea", 1), ("unicorn", 1)]), "unknown_sku"),
        (order("3", [("tea", 1), ("mug", 0)]), "zero_quantity"),
        (order("4", [("tea", 1), ("kettle", 1_000_000)]), "out_of_stock"),
    ];
    for (order, reason) in refused {
        let id = order.id.clone();
        let refusal = app.send(order).await.unwrap_err().into_handler().unwrap();
        assert_eq!(<&str>::from(&refusal), reason);
        assert!(matches!(app.query(GetOrder(id)).await, Err(DispatchError::Handler(ShopError::NoSuchOrder(_)))));
    }
    app.settle().await;
    assert!(app.events::<OrderPlaced>().is_empty() && mails.sent.lock().unwrap().is_empty());
    assert_eq!(on_hand(&app, "tea").await, before);
}

#[tokio::test]
async fn an_order_is_paid_or_cancelled_once() {
    let (app, _) = start().await;
    let before = on_hand(&app, "tea").await;
    for id in ["paid", "cancelled"] {
        app.send(order(id, [("tea", 5)])).await.unwrap();
    }
    assert_eq!(app.send(PayOrder("paid".into())).await.unwrap().status, Status::Paid);
    assert_eq!(app.send(CancelOrder("cancelled".into())).await.unwrap().status, Status::Cancelled);

    let after_paid = app.send(CancelOrder("paid".into())).await.unwrap_err();
    assert!(matches!(after_paid.handler(), Some(ShopError::AlreadyPaid(_))), "{after_paid}");
    let twice = app.send(CancelOrder("cancelled".into())).await.unwrap_err();
    assert!(matches!(twice.handler(), Some(ShopError::AlreadyCancelled(_))), "{twice}");
    let unknown = app.send(PayOrder("nobody's".into())).await.unwrap_err();
    assert!(matches!(unknown.handler(), Some(ShopError::NoSuchOrder(_))), "{unknown}");

    app.settle().await;
    assert_eq!(on_hand(&app, "tea").await, before - 5, "what was cancelled is back");
}

#[tokio::test]
async fn orders_are_listed_newest_first() {
    let (app, _) = start().await;
    for id in ["1", "2", "3"] {
        app.send(order(id, [("tea", 1)])).await.unwrap();
    }
    let ids = async |limit| {
        let orders = app.query(ListOrders { limit }).await.unwrap();
        orders.into_iter().map(|order| order.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(Some(2)).await, ["3", "2"]);
    assert_eq!(ids(None).await, ["3", "2", "1"]);
}

#[tokio::test]
async fn a_mail_that_fails_is_tried_again() {
    let (app, mails) = start().await;
    *mails.unreachable.lock().unwrap() = true;
    app.send(order("1", [("tea", 1)])).await.unwrap();
    app.settle().await;
    app.advance(std::time::Duration::from_secs(5)).await;
    app.settle().await;
    assert_eq!(mails.sent.lock().unwrap().len(), 1);
    assert_eq!(app.counts().await.unwrap().dead, 0);
}
