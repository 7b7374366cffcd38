//! What handlers answer, what follows, and what of it a client sees over HTTP.
#![expect(clippy::unwrap_used, reason = "a test that panics is a test that fails")]

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use cqrs::prelude::*;
use cqrs::testing::TestApp;
use serde_json::{Value, json};
use shop::{CancelOrder, CheckOut, GetOrder, GetQuote, ImportOrders, Imported, Line, ListOrders, PayOrder, PlaceOrder};
use shop::{Mailer, OrderPlaced, OrderShippedV1, PriceFile, Quote, ShopError, Status, app, router};
use sqlx::Sqlite;
use tower::ServiceExt;
use uuid::Uuid;

/// Remembers mails; attempts fail when it is told so.
#[derive(Default)]
struct Memory {
    sent: Mutex<Vec<(Uuid, String, String)>>,
    /// How many of the next attempts fail.
    unreachable: Mutex<u32>,
}

#[async_trait]
impl Mailer for Memory {
    async fn send(&self, id: Uuid, to: &str, text: &str) -> io::Result<()> {
        let mut unreachable = self.unreachable.lock().unwrap();
        if *unreachable > 0 {
            *unreachable -= 1;
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        self.sent.lock().unwrap().push((id, to.to_owned(), text.to_owned()));
        Ok(())
    }
}

async fn start() -> (TestApp, Arc<Memory>) {
    start_with("no-such-file.json".into()).await
}

async fn start_with(prices: PathBuf) -> (TestApp, Arc<Memory>) {
    let mails = Arc::new(Memory::default());
    let builder = app().provide_arc::<dyn Mailer>(mails.clone());
    (TestApp::new(builder.override_arc(Arc::new(PriceFile(prices)))).await.unwrap(), mails)
}

fn order<const N: usize>(id: &str, lines: [(&str, u32); N]) -> PlaceOrder {
    let lines = lines.map(|(sku, quantity)| Line { sku: sku.to_owned(), quantity });
    PlaceOrder { id: id.to_owned(), customer: "ada@example.com".to_owned(), lines: lines.into() }
}

fn pay(id: &str, gift_card: Option<&str>, card: Option<&str>) -> CheckOut {
    CheckOut(PayOrder { id: id.to_owned(), gift_card: gift_card.map(str::to_owned), card: card.map(str::to_owned) })
}

/// What was paid on an order, and how.
async fn payments(app: &App, id: &str) -> Vec<(String, i64)> {
    let mut unit = app.unit::<Sqlite>().await.unwrap();
    let sql = "SELECT how, cents FROM payments WHERE order_id = ? ORDER BY rowid";
    sqlx::query_as(sql).bind(id).fetch_all(&mut **unit.tx()).await.unwrap()
}

async fn left_on(app: &App, gift_card: &str) -> i64 {
    let mut unit = app.unit::<Sqlite>().await.unwrap();
    let sql = "SELECT cents FROM gift_cards_left WHERE code = ?";
    sqlx::query_scalar(sql).bind(gift_card).fetch_one(&mut **unit.tx()).await.unwrap()
}

/// A request with a JSON body where there is one: its status, and its body as a text.
async fn ask_text(app: &TestApp, request: &str, body: impl Into<Body>, key: Option<&str>) -> (u16, String) {
    let (method, path) = request.split_once(' ').unwrap();
    let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    let request = key.into_iter().fold(request, |request, key| request.header("idempotency-key", key));
    let response = router(App::clone(app)).oneshot(request.body(body.into()).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    if status >= 400 {
        assert_eq!(response.headers()["content-type"], "application/problem+json");
    }
    (status, String::from_utf8(to_bytes(response.into_body(), 1 << 20).await.unwrap().into()).unwrap())
}

async fn ask(app: &TestApp, request: &str, body: &str) -> (u16, Value) {
    let (status, text) = ask_text(app, request, body.to_owned(), None).await;
    (status, serde_json::from_str(&text).unwrap())
}

/// How much of a product is reserved, and how much has gone out.
async fn stock(app: &App, sku: &str) -> (i64, i64) {
    let mut unit = app.unit::<Sqlite>().await.unwrap();
    let sql = "SELECT reserved, -(SELECT coalesce(sum(quantity), 0) FROM stock_moves WHERE stock_moves.sku = stock.sku)
               FROM stock WHERE sku = ?";
    sqlx::query_as(sql).bind(sku).fetch_one(&mut **unit.tx()).await.unwrap()
}

/// Runs a statement on the shop's database.
async fn execute(app: &App, sql: &'static str) {
    let mut unit = app.unit::<Sqlite>().await.unwrap();
    sqlx::raw_sql(sql).execute(&mut **unit.tx()).await.unwrap();
    unit.commit().await.unwrap();
}

/// What an order says of itself, and everything that its checkout changes.
async fn traces(app: &App, id: &str) -> (Status, Vec<(String, i64)>, [(i64, i64); 3], [i64; 2]) {
    let status = app.query(GetOrder(id.into())).await.unwrap().status;
    let stock = [stock(app, "tea").await, stock(app, "mug").await, stock(app, "kettle").await];
    (status, payments(app, id).await, stock, [left_on(app, "WELCOME-10").await, left_on(app, "WELCOME-50").await])
}

#[test]
fn wiring() {
    cqrs::verify!(app());
}

#[tokio::test]
async fn an_order_sends_one_mail_and_its_checkout_moves_stock() {
    let (app, mails) = start().await;
    let placed = app.send(order("1", [("tea", 2), ("mug", 1)])).await.unwrap();
    assert_eq!((placed.total_cents, placed.status), (2 * 450 + 1200, Status::Placed));
    app.settle().await;
    assert_eq!((stock(&app, "tea").await, stock(&app, "mug").await), ((0, 0), (0, 0)), "nothing is reserved yet");

    let paid = app.send(pay("1", None, Some("tok_1"))).await.unwrap();
    assert_eq!(paid, app.query(GetOrder("1".into())).await.unwrap());
    assert_eq!((paid.status, paid.placed), (Status::Paid, placed.placed));
    app.settle().await;
    assert_eq!((stock(&app, "tea").await, stock(&app, "mug").await), ((2, 2), (1, 1)));
    let mails = mails.sent.lock().unwrap();
    let [(_, to, text)] = mails.as_slice() else { panic!("not one mail: {mails:?}") };
    assert_eq!((to.as_str(), text.contains("order 1.")), ("ada@example.com", true));
}

#[tokio::test]
async fn a_repeated_request_is_one_order() {
    let (app, mails) = start().await;
    let first = app.send(order("1", [("tea", 2), ("mug", 1)])).await.unwrap();
    assert_eq!(app.send(order("1", [("mug", 1), ("tea", 2)])).await.unwrap(), first);
    let other = app.send(order("1", [("tea", 3)])).await.unwrap_err();
    assert!(matches!(other.handler(), Some(ShopError::IdTaken(_))), "{other}");
    app.settle().await;
    assert_eq!(mails.sent.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn refused_orders_leave_no_trace() {
    let (app, mails) = start().await;
    let anonymous = PlaceOrder { customer: " ".into(), ..order("5", [("tea", 1)]) };
    let refused = [
        (order("1", []), "`lines`: is empty; add one, such as {\"sku\": \"tea\", \"quantity\": 1}"),
        (order("2", [("tea", 1), ("unicorn", 1)]), "`lines[1].sku`: there is no product `unicorn`; leave the line out"),
        (order("3", [("tea", 1), ("mug", 0)]), "`lines[1].quantity`: is 0; order at least 1, or leave the line out"),
        (order("4", [("tea", 1), ("kettle", 1_000_000)]), "1000000 of `kettle` wanted, 100000 on hand"),
        (anonymous, "`customer`: is empty; say where the confirmation goes, such as `ada@example.com`"),
        (
            order("6", [("tea", 1), ("mug", 1), ("tea", 2)]),
            "`lines[2].sku`: `tea` is on an earlier line; add the quantities up on one",
        ),
        (order(" ", [("tea", 1)]), "`id`: is empty; choose one that no other order has"),
    ];
    for (order, why) in refused {
        let id = order.id.clone();
        let refusal = app.send(order).await.unwrap_err().into_handler().unwrap();
        assert_eq!(refusal.to_string(), why);
        assert!(matches!(app.query(GetOrder(id)).await, Err(DispatchError::Handler(ShopError::NoSuchOrder(_)))));
    }
    app.settle().await;
    assert!(app.events::<OrderPlaced>().is_empty() && mails.sent.lock().unwrap().is_empty());
    assert_eq!(stock(&app, "tea").await, (0, 0));
}

#[tokio::test]
async fn an_order_is_paid_or_cancelled_once() {
    let (app, _) = start().await;
    for id in ["paid", "cancelled"] {
        app.send(order(id, [("tea", 5)])).await.unwrap();
    }
    assert_eq!(app.send(pay("paid", None, None)).await.unwrap().status, Status::Paid);
    assert_eq!(app.send(CancelOrder("cancelled".into())).await.unwrap().status, Status::Cancelled);

    let after_paid = app.send(CancelOrder("paid".into())).await.unwrap_err();
    assert!(matches!(after_paid.handler(), Some(ShopError::Concluded(_, Status::Paid))), "{after_paid}");
    let twice = app.send(CancelOrder("cancelled".into())).await.unwrap_err();
    assert!(matches!(twice.handler(), Some(ShopError::Concluded(_, Status::Cancelled))), "{twice}");
    let after_cancel = app.send(pay("cancelled", None, None)).await.unwrap_err();
    assert!(matches!(after_cancel.handler(), Some(ShopError::Concluded(_, Status::Cancelled))), "{after_cancel}");
    let unknown = app.send(pay("nobody's", None, None)).await.unwrap_err();
    assert!(matches!(unknown.handler(), Some(ShopError::NoSuchOrder(_))), "{unknown}");

    app.settle().await;
    assert_eq!(stock(&app, "tea").await, (5, 5));
}

#[tokio::test]
async fn a_repeated_payment_joins_the_checkout() {
    let (app, _) = start().await;
    app.send(order("1", [("tea", 2)])).await.unwrap();
    let ways = || pay("1", Some("WELCOME-10"), None);
    let (one, other) = tokio::join!(app.send(ways()), app.send(ways()));
    assert_eq!(one.unwrap(), other.unwrap(), "at the same time");
    assert_eq!(app.send(ways()).await.unwrap().status, Status::Paid, "afterwards");
    let paid = ask(&app, "POST /orders/1/pay", r#"{"gift_card": "WELCOME-10"}"#).await;
    assert_eq!(paid, ask(&app, "GET /orders/1", "").await, "and over HTTP");
    let otherwise = app.send(pay("1", None, Some("tok_1"))).await.unwrap_err();
    assert!(matches!(otherwise.handler(), Some(ShopError::Concluded(_, Status::Paid))), "{otherwise}");
    app.settle().await;
    assert_eq!((payments(&app, "1").await, stock(&app, "tea").await), (vec![("gift_card".into(), 900)], (2, 2)));
    assert_eq!(app.events::<OrderShippedV1>().len(), 1);

    // When nobody knows the checkout any more, there is still the order.
    execute(&app, "DELETE FROM cqrs_sagas; DELETE FROM cqrs_saga_steps; DELETE FROM cqrs_saga_log").await;
    let long_after = app.send(ways()).await.unwrap_err();
    assert!(matches!(long_after.handler(), Some(ShopError::Concluded(_, Status::Paid))), "{long_after}");
    assert_eq!((payments(&app, "1").await, stock(&app, "tea").await), (vec![("gift_card".into(), 900)], (2, 2)));
}

#[tokio::test]
async fn two_payments_at_once_are_one() {
    let (app, _) = start().await;
    for n in 0..20 {
        let id = n.to_string();
        app.send(order(&id, [("tea", 2)])).await.unwrap();
        let (one, other) = tokio::join!(app.send(pay(&id, None, Some("one"))), app.send(pay(&id, None, Some("other"))));
        let (Ok(paid), Err(refused)) = (if one.is_ok() { (one, other) } else { (other, one) }) else {
            panic!("both of {id} have paid")
        };
        let word = <&str>::from(refused.into_handler().unwrap());
        assert!(paid.status == Status::Paid && ["under_way", "concluded"].contains(&word), "{word}");
        assert_eq!(payments(&app, &id).await, [("card".to_owned(), 900)]);
    }
    app.settle().await;
    assert_eq!(stock(&app, "tea").await, (40, 40));
}

#[tokio::test]
async fn a_refused_checkout_leaves_everything_as_it_was() {
    let (app, _) = start().await;
    app.send(order("1", [("tea", 1), ("kettle", 100)])).await.unwrap();
    app.send(order("2", [("kettle", 99_900)])).await.unwrap();
    app.send(pay("2", None, Some("tok_1"))).await.unwrap();
    app.settle().await;
    app.send(order("3", [("tea", 1), ("kettle", 1)])).await.unwrap();
    execute(&app, "UPDATE stock SET pieces = 99999 WHERE sku = 'kettle'").await;

    let (one, three) = (traces(&app, "1").await, traces(&app, "3").await);
    let refused = [
        ("1", r#"{"gift_card": "WELCOME-50"}"#, 409, "out_of_stock", "100 of `kettle` wanted, 99 on hand"),
        ("3", r#"{"gift_card": "WELCOME-5"}"#, 422, "invalid", "`gift_card`: there is no gift card `WELCOME-5`"),
        ("3", r#"{"gift_card": "WELCOME-10", "card": " "}"#, 422, "invalid", "`card`: is empty; give the bank's token"),
        ("4", r#"{"card": "tok_1"}"#, 404, "no_such_order", "there is no order `4`"),
    ];
    for (id, ways, status, word, detail) in refused {
        for _ in 0..2 {
            let (got, problem) = ask(&app, &format!("POST /orders/{id}/pay"), ways).await;
            assert_eq!((got, &problem["type"]), (status, &json!(format!("urn:shop:{word}"))), "{problem}");
            assert!(problem["detail"].as_str().unwrap().starts_with(detail), "{problem}");
        }
    }
    app.settle().await;
    assert_eq!((traces(&app, "1").await, traces(&app, "3").await), (one, three));

    // What was in the way is mended: the same request is served.
    execute(&app, "UPDATE stock SET pieces = 100000 WHERE sku = 'kettle'").await;
    assert_eq!(ask(&app, "POST /orders/1/pay", r#"{"card": "tok_1"}"#).await.1["status"], "paid");
    execute(&app, "INSERT INTO gift_cards VALUES ('WELCOME-5', 100000)").await;
    let (status, problem) = ask(&app, "POST /orders/3/pay", r#"{"gift_card": "WELCOME-5"}"#).await;
    assert_eq!((status, &problem["type"]), (409, &json!("urn:shop:out_of_stock")), "the last kettle is gone");
    execute(&app, "UPDATE stock SET pieces = 100001 WHERE sku = 'kettle'").await;
    assert_eq!(ask(&app, "POST /orders/3/pay", r#"{"gift_card": "WELCOME-5"}"#).await.1["status"], "paid");
}

/// Between the payment and the shipping: the saga finds it cancelled where there is no more way forward.
#[tokio::test]
async fn an_order_that_is_cancelled_before_it_is_shipped_gets_everything_back() {
    let (app, _) = start().await;
    app.send(order("1", [("tea", 1), ("mug", 2)])).await.unwrap();
    let (_, payments, stock, cards) = traces(&app, "1").await;
    execute(
        &app,
        "CREATE TRIGGER meanwhile AFTER INSERT ON payments WHEN NEW.how = 'card'
         BEGIN UPDATE orders SET status = 'cancelled' WHERE id = NEW.order_id; END",
    )
    .await;
    let (status, problem) = ask(&app, "POST /orders/1/pay", r#"{"gift_card": "WELCOME-10", "card": "tok_1"}"#).await;
    assert_eq!((status, &problem["type"]), (409, &json!("urn:shop:concluded")), "{problem}");
    assert_eq!(problem["detail"], "order `1` is cancelled already");
    app.settle().await;
    assert_eq!(traces(&app, "1").await, (Status::Cancelled, payments, stock, cards));
    assert!(app.events::<OrderShippedV1>().is_empty());
    let history = app.sagas().history("1/1").await.unwrap();
    let steps = history.iter().map(|entry| (entry.step.as_str(), entry.is_undo)).collect::<Vec<_>>();
    assert_eq!(steps, [("reserve", false), ("pay", false), ("ship", false), ("pay", true), ("reserve", true)]);
}

/// Whoever comes first has the order; who comes second is told so, and no trace of it is left.
#[tokio::test]
async fn a_cancel_and_a_checkout_at_once_are_one_or_the_other() {
    let (app, _) = start().await;
    let mut paid = 0;
    for n in 0..50 {
        let id = format!("{n}");
        app.send(order(&id, [("tea", 1), ("mug", 2)])).await.unwrap();
        let cancel = async {
            tokio::time::sleep(std::time::Duration::from_micros(200 * n)).await;
            app.send(CancelOrder(id.clone())).await
        };
        let (checkout, cancel) = tokio::join!(app.send(pay(&id, None, Some("tok_1"))), cancel);
        let status = app.query(GetOrder(id.clone())).await.unwrap().status;
        let payments = payments(&app, &id).await;
        let shipped = app.events::<OrderShippedV1>().iter().filter(|event| event.id == id).count();
        match (checkout, cancel) {
            (Ok(_), Err(_)) => {
                assert_eq!((status, payments, shipped), (Status::Paid, vec![("card".into(), 2850)], 1));
                paid += 1;
            }
            (Err(refusal), Ok(_)) => {
                assert_eq!((status, payments, shipped), (Status::Cancelled, vec![], 0));
                assert!(matches!(refusal.handler(), Some(ShopError::Concluded(_, Status::Cancelled))), "{refusal}");
            }
            other => panic!("{other:?}"),
        }
    }
    app.settle().await;
    assert_eq!((stock(&app, "tea").await, stock(&app, "mug").await), ((paid, paid), (2 * paid, 2 * paid)));
    assert!(app.sagas().counts().await.unwrap().is_empty(), "every checkout has ended");
}

#[tokio::test]
async fn orders_are_listed_newest_first() {
    let (app, _) = start().await;
    for id in ["1", "2", "3"] {
        app.send(order(id, [("tea", 1)])).await.unwrap();
    }
    let ids = async |limit| {
        let orders = app.query(ListOrders { limit }).await.unwrap();
        orders.into_iter().map(|order| order.placed.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(Some(2)).await, ["3", "2"]);
    assert_eq!(ids(None).await, ["3", "2", "1"]);
}

#[tokio::test]
async fn a_mail_that_fails_is_tried_again() {
    let (app, mails) = start().await;
    *mails.unreachable.lock().unwrap() = 1;
    app.send(order("1", [("tea", 1)])).await.unwrap();
    app.settle().await;
    app.advance(std::time::Duration::from_secs(5)).await;
    app.settle().await;
    assert_eq!(mails.sent.lock().unwrap().len(), 1);
    assert_eq!(app.counts().await.unwrap().dead, 0);
}

#[tokio::test]
async fn a_gift_card_pays_what_it_can_and_the_next_link_the_rest() {
    let (app, _) = start().await;
    for id in ["card", "invoice", "gift card"] {
        app.send(order(id, [("tea", 1)])).await.unwrap();
    }
    app.send(order("more", [("mug", 1)])).await.unwrap();
    let owned = |how: &str, cents| (how.to_owned(), cents);

    assert_eq!(app.send(pay("card", None, Some("tok_1"))).await.unwrap().status, Status::Paid);
    assert_eq!(payments(&app, "card").await, [owned("card", 450)]);
    app.send(pay("invoice", None, None)).await.unwrap();
    assert_eq!(payments(&app, "invoice").await, [owned("invoice", 450)]);
    app.send(pay("gift card", Some("WELCOME-10"), Some("tok_1"))).await.unwrap();
    assert_eq!(payments(&app, "gift card").await, [owned("gift_card", 450)], "the card is not asked");
    app.send(pay("more", Some("WELCOME-10"), Some("tok_1"))).await.unwrap();
    assert_eq!(payments(&app, "more").await, [owned("gift_card", 550), owned("card", 650)]);
    assert_eq!(left_on(&app, "WELCOME-10").await, 0);
}

#[tokio::test]
async fn a_refused_payment_leaves_the_gift_card_as_it_was() {
    let (app, _) = start().await;
    app.send(order("1", [("kettle", 100)])).await.unwrap();
    app.send(order("2", [("mug", 1)])).await.unwrap();

    let refused = app.send(pay("1", Some("WELCOME-10"), None)).await.unwrap_err();
    assert!(matches!(refused.handler(), Some(ShopError::OverLimit { due: 398_000, .. })), "{refused}");
    assert_eq!((left_on(&app, "WELCOME-10").await, payments(&app, "1").await), (1000, vec![]));
    assert_eq!(app.query(GetOrder("1".into())).await.unwrap().status, Status::Placed);

    app.send(pay("1", Some("WELCOME-10"), Some("tok_1"))).await.unwrap();
    let (status, problem) = ask(&app, "POST /orders/2/pay", r#"{"gift_card": "WELCOME-10"}"#).await;
    let why = "`gift_card`: there is no gift card `WELCOME-10` with money on it; leave it out to pay without";
    assert_eq!((status, problem["detail"].as_str()), (422, Some(why)));
    let (status, problem) = ask(&app, "POST /orders/2/pay", r#"{"gift_card": "WELCOME-50", "card": ""}"#).await;
    assert_eq!((status, problem["detail"].as_str()), (200, None), "the gift card is enough: nobody looks at the card");
    app.send(order("3", [("mug", 1)])).await.unwrap();
    let (status, problem) = ask(&app, "POST /orders/3/pay", r#"{"card": ""}"#).await;
    let why = "`card`: is empty; give the bank's token, or leave it out";
    assert_eq!((status, problem["detail"].as_str()), (422, Some(why)));
    let twice = app.send(pay("1", Some("WELCOME-50"), None)).await.unwrap_err();
    assert!(matches!(twice.handler(), Some(ShopError::Concluded(_, Status::Paid))), "{twice}");
    assert_eq!(left_on(&app, "WELCOME-50").await, 5000 - 1200);
}

const TWO_TEAS: &str = r#"{"lines": [{"sku": "tea", "quantity": 2}]}"#;

fn two_teas() -> GetQuote {
    GetQuote { lines: vec![Line { sku: "tea".into(), quantity: 2 }] }
}

const TODAY: Quote = Quote { total_cents: 800, price: "today" };
const LISTED: Quote = Quote { total_cents: 900, price: "listed" };

#[tokio::test]
async fn a_quote_is_at_todays_prices_or_else_the_listed_ones() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("prices.json");
    let (app, _) = start_with(file.clone()).await;
    assert_eq!(app.query(two_teas()).await.unwrap(), LISTED, "there is no file");
    std::fs::write(&file, r#"{"tea": 400}"#).unwrap();
    assert_eq!(app.query(two_teas()).await.unwrap(), TODAY);
    assert_eq!(ask(&app, "POST /quotes", TWO_TEAS).await, (200, json!({"total_cents": 800, "price": "today"})));
    for none in [r#"{"tea": "#, r#"{"tea": -400}"#] {
        std::fs::write(&file, none).unwrap();
        assert_eq!(app.query(two_teas()).await.unwrap(), LISTED, "half a file is none, and no price is below 0");
    }
    std::fs::write(&file, r#"{"tea": 4294967295}"#).unwrap();
    let dear = r#"{"lines": [{"sku": "tea", "quantity": 4294967295}]}"#;
    let (status, problem) = ask(&app, "POST /quotes", dear).await;
    assert_eq!((status, &problem["type"]), (422, &json!("urn:shop:invalid")), "{problem}");
}

#[tokio::test]
async fn a_price_list_that_fails_is_left_alone_for_a_while() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("prices.json");
    let (app, _) = start_with(file.clone()).await;
    for _ in 0..3 {
        assert_eq!(app.query(two_teas()).await.unwrap(), LISTED);
    }
    std::fs::write(&file, r#"{"tea": 400}"#).unwrap();
    assert_eq!(app.query(two_teas()).await.unwrap(), LISTED, "it is not asked");
    app.advance(std::time::Duration::from_secs(10)).await;
    assert_eq!(app.query(two_teas()).await.unwrap(), TODAY);

    let no_lines = GetQuote { lines: vec![] };
    for _ in 0..3 {
        let refused = app.query(no_lines.clone()).await.unwrap_err();
        assert!(matches!(refused.handler(), Some(ShopError::Invalid(field, _)) if field == "lines"), "{refused}");
    }
    assert_eq!(app.query(two_teas()).await.unwrap(), TODAY, "what the shop refuses is no failure of the list");
}

/// A named pipe that nobody writes to: reading it takes for ever.
#[cfg(unix)]
#[tokio::test]
async fn a_price_list_that_is_slow_is_not_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("prices.json");
    assert!(std::process::Command::new("mkfifo").arg(&file).status().unwrap().success());
    let (app, _) = start_with(file.clone()).await;
    // A quote that waits after all is a failure, not a test that hangs.
    let quote = tokio::time::timeout(std::time::Duration::from_secs(30), app.query(two_teas())).await;
    // Lets go of the thread that reads.
    std::fs::write(&file, "{}").unwrap();
    assert_eq!(quote.unwrap().unwrap(), LISTED);
}

fn orders() -> Vec<Value> {
    let tea =
        |id: &str, quantity: u32| json!({"id": id, "customer": "ada", "lines": [{"sku": "tea", "quantity": quantity}]});
    vec![tea("1", 1), tea("2", 0), json!({"id": "3"}), tea("4", 1)]
}

#[tokio::test]
async fn an_import_tells_of_each_order() {
    let (app, mails) = start().await;
    let (status, events) = ask_text(&app, "POST /imports", json!(orders()).to_string(), None).await;
    let expected = r#"id: 1
event: item
data: {"accepted":{"line":1,"id":"1"}}

id: 2
event: item
data: {"refused":{"line":2,"reason":"invalid","why":"`lines[0].quantity`: is 0; order at least 1, or leave the line out"}}

id: 3
event: item
data: {"refused":{"line":3,"reason":"invalid","why":"`orders[2]`: missing field `customer`"}}

id: 4
event: item
data: {"accepted":{"line":4,"id":"4"}}

id: end
event: end
data: {}

"#;
    assert_eq!((status, events.as_str()), (200, expected));
    app.settle().await;
    assert_eq!(mails.sent.lock().unwrap().len(), 2);

    let (_, again) = ask_text(&app, "POST /imports", json!(orders()).to_string(), None).await;
    assert_eq!(again, expected, "again and again is the same as once");
    app.settle().await;
    assert_eq!(mails.sent.lock().unwrap().len(), 2);
    assert_eq!(ask(&app, "POST /imports", r#"{"orders": []}"#).await.0, 422);
}

#[tokio::test]
async fn what_an_import_has_told_of_is_committed() {
    let (app, mails) = start().await;
    let mut import = app.stream(ImportOrders(orders()));
    assert_eq!(import.next().await.unwrap().unwrap(), Imported::Accepted { line: 1, id: "1".into() });
    drop(import);
    app.settle().await;
    assert!(app.query(GetOrder("1".into())).await.is_ok());
    assert!(app.query(GetOrder("4".into())).await.is_err(), "nobody asked for the rest");
    assert_eq!(mails.sent.lock().unwrap().len(), 1);
}

const ORDER: &str = r#"{"id": "1", "customer": "ada", "lines": [{"sku": "tea", "quantity": 2}]}"#;

#[tokio::test]
async fn http_says_what_is_wrong_and_how_to_mend_it() {
    let (app, _) = start().await;
    assert_eq!(ask(&app, "POST /orders", ORDER).await.0, 201);
    let told = [
        ("POST /orders", "{", 400, "about:blank", "the body is not valid JSON: EOF while parsing"),
        ("POST /orders", r#"{"id": 1}"#, 422, "about:blank", "`id`: invalid type: integer `1`, expected a string"),
        (
            "POST /orders",
            r#"{"id": "2", "customer": "ada", "lines": [{"sku": "tea", "quantity": -1}]}"#,
            422,
            "about:blank",
            "`lines[0].quantity`: invalid value: integer `-1`",
        ),
        (
            "POST /orders",
            r#"{"id": "", "customer": "", "lines": []}"#,
            422,
            "urn:shop:invalid",
            "`id`: is empty; choose",
        ),
        (
            "POST /orders",
            r#"{"id": "1", "customer": "bob", "lines": [{"sku": "tea", "quantity": 2}]}"#,
            409,
            "urn:shop:id_taken",
            "`id`: another order has the id `1`",
        ),
        ("POST /quotes", r#"{"lines": []}"#, 422, "urn:shop:invalid", "`lines`: is empty; add one"),
        ("GET /orders/9", "", 404, "urn:shop:no_such_order", "there is no order `9`"),
        ("POST /orders/9/pay", "", 404, "urn:shop:no_such_order", "there is no order `9`"),
        ("POST /orders/%ff/cancel", "", 400, "about:blank", ""),
        ("GET /orders?limit=many", "", 422, "about:blank", "`limit`: "),
        ("GET /nowhere", "", 404, "about:blank", "the shop has nothing like this at this address"),
        ("DELETE /orders", "", 405, "about:blank", "the shop has nothing like this at this address"),
    ];
    for (request, body, status, kind, detail) in told {
        let (got, problem) = ask(&app, request, body).await;
        assert_eq!((got, problem["type"].as_str()), (status, Some(kind)), "{request} {body}: {problem}");
        assert!(problem["detail"].as_str().unwrap().starts_with(detail), "{request} {body}: {problem}");
    }
}

#[tokio::test]
async fn over_http_an_order_is_placed_shown_paid_and_no_longer_cancelled() {
    let (app, _) = start().await;
    let placed = ask(&app, "POST /orders", ORDER).await;
    assert_eq!((placed.0, &placed.1["status"]), (201, &json!("placed")));
    assert_eq!(ask(&app, "GET /orders/1", "").await, (200, placed.1.clone()));
    assert_eq!(ask(&app, "GET /orders?limit=1", "").await, (200, json!([placed.1])));
    assert_eq!(ask(&app, "POST /orders/1/pay", r#"{"card": "tok_1"}"#).await.1["status"], "paid");
    let (status, problem) = ask(&app, "POST /orders/1/cancel", "").await;
    assert_eq!((status, &problem["type"]), (409, &json!("urn:shop:concluded")));
    assert_eq!(problem["detail"], "order `1` is paid already");
}

#[tokio::test]
async fn an_oversize_order_is_refused_and_stops_no_other() {
    let (app, _) = start().await;
    let order =
        |id: &str, size| json!({"id": id, "customer": "a".repeat(size), "lines": [{"sku": "tea", "quantity": 1}]});
    assert_eq!(ask(&app, "POST /orders", &order("1", 64 << 10).to_string()).await.0, 413);
    let (status, problem) = ask(&app, "POST /orders", &order("1", 1001).to_string()).await;
    assert_eq!((status, &problem["type"]), (422, &json!("urn:shop:invalid")), "{problem}");
    assert_eq!(ask(&app, "GET /orders/1", "").await.0, 404);
    let all = json!([order("2", 1 << 19), order("3", 1000)]).to_string();
    let (_, told) = ask_text(&app, "POST /imports", all, None).await;
    assert!(told.contains("is longer than 1,000") && told.contains(r#"{"accepted":{"line":2,"id":"3"}}"#), "{told}");
}

#[tokio::test]
async fn an_idempotency_key_is_one_order() {
    let (app, mails) = start().await;
    let first = ask_text(&app, "POST /orders", ORDER, Some("key-1")).await;
    assert_eq!(first.0, 201);
    app.send(CancelOrder("1".into())).await.unwrap();
    assert_eq!(ask_text(&app, "POST /orders", ORDER, Some("key-1")).await, first, "the answer of that time");
    let other = ORDER.replace("\"1\"", "\"2\"");
    assert_eq!(ask_text(&app, "POST /orders", other, Some("key-1")).await.0, 422);

    app.send(order("2", [("tea", 1)])).await.unwrap();
    let paid = ask_text(&app, "POST /orders/2/pay", r#"{"card": "tok_1"}"#, Some("key-2")).await;
    assert_eq!(paid.0, 200);
    assert_eq!(ask_text(&app, "POST /orders/2/pay", r#"{"card": "tok_1"}"#, Some("key-2")).await, paid);
    app.settle().await;
    assert_eq!(mails.sent.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn loading_names_dead_letters_at_its_end() {
    let (app, mails) = start().await;
    *mails.unreachable.lock().unwrap() = u32::MAX;
    app.send(order("1", [("tea", 1)])).await.unwrap();
    while app.counts().await.unwrap().dead == 0 {
        app.advance(std::time::Duration::from_mins(10)).await;
        app.settle().await;
    }
    let [dead] = &app.dead_letters(2).await.unwrap()[..] else { panic!("not one") };
    let (source, seq) = (dead.id.source, dead.id.seq);
    let expected = format!("dead letters: 1\n  {source:?} {seq} {}: {}\n", dead.handler, dead.error);
    assert!(expected.contains("shop::mail::confirm") && expected.contains("connection refused"), "{expected}");

    let directory = tempfile::tempdir().unwrap();
    let (db, file) = (directory.path().join("shop.db"), directory.path().join("orders.jsonl"));
    let copy = sqlx::SqlitePool::connect(&format!("sqlite://{}", app.directory().join("test.db").display())).await;
    sqlx::query("VACUUM INTO ?").bind(db.to_str()).execute(&copy.unwrap()).await.unwrap();
    let lines = orders().iter().map(Value::to_string).collect::<Vec<_>>().join("\n");
    std::fs::write(&file, format!("{}\n{{", lines.replace("\"1\"", "\"5\""))).unwrap();
    let program = env!("CARGO_BIN_EXE_shop");
    let mut load = tokio::process::Command::new(program);
    load.env("CQRS_STORE", format!("sqlite://{}", db.display()));
    load.arg("load").arg(file).arg("--spool").arg(directory.path().join("spool"));
    let output = load.output().await.unwrap();
    let (told, log) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success() && told.starts_with("2 accepted, 3 refused; "), "{told}{log}");
    assert!(told.ends_with(&format!("\n     3 invalid\n{expected}")), "{told}");
    assert!(log.contains("line 5: `orders[4]`: invalid type: string \"{\""), "{log}");
}
