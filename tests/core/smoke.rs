use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use cqrs::prelude::*;
use cqrs::sqlx::{self, Sqlite, SqlitePool};
use cqrs::testing::TestApp;
use serde::{Deserialize, Serialize};

#[derive(Command)]
#[command(response = i64, error = sqlx::Error)]
struct Place {
    item: String,
}

#[derive(Query)]
#[query(response = i64, error = sqlx::Error)]
struct CountOrders;

#[derive(DomainEvent, Clone, Serialize, Deserialize)]
struct Placed {
    id: i64,
}

#[derive(NotificationEvent, Clone, Serialize, Deserialize)]
#[event(name = "placed", topic = "orders", key = id)]
struct PlacedV1 {
    id: i64,
}

#[provider]
fn seen() -> Seen {
    Seen::default()
}

#[derive(Default)]
struct Seen {
    plain: AtomicU32,
    durable: AtomicU32,
    group: AtomicU32,
}

#[command_handler]
async fn place(cmd: Place, tx: &mut Tx<Sqlite>, events: &mut Events) -> Result<i64, sqlx::Error> {
    sqlx::query("CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, item TEXT)").execute(&mut **tx).await?;
    let id = sqlx::query("INSERT INTO orders (item) VALUES (?)")
        .bind(cmd.item)
        .execute(&mut **tx)
        .await?
        .last_insert_rowid();
    events.raise(Placed { id });
    events.raise(PlacedV1 { id });
    Ok(id)
}

#[query_handler]
async fn count(_q: CountOrders, pool: Inject<SqlitePool>) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT count(*) FROM orders").fetch_one(&*pool).await
}

#[event_handler]
async fn on_placed(_e: &Placed, seen: Inject<Seen>) {
    seen.plain.fetch_add(1, Ordering::SeqCst);
}

#[event_handler(durable)]
async fn mail(_e: &Placed, seen: Inject<Seen>) {
    seen.durable.fetch_add(1, Ordering::SeqCst);
}

#[event_handler(group = "stock")]
async fn stock(_e: PlacedV1, seen: Inject<Seen>) {
    seen.group.fetch_add(1, Ordering::SeqCst);
}

#[tokio::test]
async fn everything_once() {
    let seen = Arc::new(Seen::default());
    let app = crate::support::app(&Arc::default()).override_arc::<Seen>(Arc::clone(&seen));
    let app = TestApp::new(app).await.unwrap();
    let id = app.send(Place { item: "tea".into() }).await.unwrap();
    assert_eq!(id, 1);
    assert_eq!(app.query(CountOrders).await.unwrap(), 1);
    app.settle().await;
    assert_eq!(seen.plain.load(Ordering::SeqCst), 1);
    assert_eq!(seen.durable.load(Ordering::SeqCst), 1);
    assert_eq!(seen.group.load(Ordering::SeqCst), 1);
    assert_eq!(app.events::<Placed>().len(), 1);
}
