//! The program is killed twenty times under load; nothing is lost, and nothing happens twice.
#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test that panics is a test that fails"
)]

#[path = "kill/client.rs"]
mod client;
#[path = "kill/program.rs"]
mod program;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use client::Client;
use cqrs::store::SagaPhase;
use program::Program;
use shop::{Mailer, PlaceOrder, Spool};
use sqlx::SqlitePool;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

const KILLS: usize = 20;
const CLIENTS: usize = 4;
/// What hangs is a failure, too.
const LIMIT: Duration = Duration::from_secs(85);

/// What the clients share: where the shop is at the moment, what it told them.
#[derive(Default)]
struct Load {
    address: std::sync::Mutex<Option<std::net::SocketAddr>>,
    answered: AtomicUsize,
    enough: AtomicBool,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_kills() {
    let directory = tempfile::tempdir().unwrap();
    timeout(LIMIT, run(directory.path())).await.expect("the shop settles");
}

async fn run(directory: &Path) {
    let load = Arc::new(Load::default());
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        clients.spawn(buy(Client { number, load: Arc::clone(&load) }));
    }

    let mut program = Program::start(directory, &load).await;
    for _ in 0..KILLS {
        let before = load.answered.load(Ordering::SeqCst);
        while load.answered.load(Ordering::SeqCst) == before {
            sleep(Duration::from_millis(1)).await;
        }
        sleep(Duration::from_millis(random() % 300)).await;
        program.kill().await;
        program = Program::start(directory, &load).await;
    }
    load.enough.store(true, Ordering::SeqCst);
    // Each client ends with the answer to its last request, so every order that was asked for is acknowledged.
    let acknowledged: Vec<Bought> = clients.join_all().await.into_iter().flatten().collect();
    settled(directory).await;
    assert!(program.terminate().await.success(), "SIGTERM is a regular end");
    check(directory, &acknowledged).await;
}

/// An order that a client got its answers for, and what it had asked for.
struct Bought {
    id: String,
    ends: Ends,
    lines: [(&'static str, i64); 2],
}

/// What a client wants of an order that it has placed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    Placed,
    Paid,
    Cancelled,
    /// Paid and cancelled at once: whatever comes first.
    Either,
}

/// Places orders until it is enough; pays most, cancels some, and does both with others.
async fn buy(client: Client) -> Vec<Bought> {
    const SKUS: [&str; 3] = ["tea", "mug", "honey"];
    const ENDS: [Ends; 5] = [Ends::Paid, Ends::Either, Ends::Placed, Ends::Paid, Ends::Cancelled];
    let mut bought = Vec::new();
    while !client.load.enough.load(Ordering::SeqCst) {
        let n = bought.len();
        let id = format!("{}-{n}", client.number);
        let quantity = [1, 2, 3, 4][n % 4];
        let lines = [(SKUS[n % 3], quantity), (SKUS[(n + 1) % 3], 1)];
        let [(sku, _), (other, one)] = lines;
        let order = format!(
            r#"{{"id": "{id}", "customer": "{id}", "lines": [{{"sku": "{sku}", "quantity": {quantity}}}, {{"sku": "{other}", "quantity": {one}}}]}}"#
        );
        assert_eq!(client.post("/orders", &order).await, 201);
        let ends = ENDS[n % 5];
        let (pay, cancel) = (format!("/orders/{id}/pay"), format!("/orders/{id}/cancel"));
        let pay = client.post(&pay, r#"{"card": "tok_1"}"#);
        let cancel = client.post(&cancel, "");
        match ends {
            Ends::Placed => {}
            // However often it is asked for: the answer is the same.
            Ends::Paid => assert_eq!(pay.await, 200),
            // 409: an earlier attempt has cancelled it, and its answer was lost.
            Ends::Cancelled => assert!(matches!(cancel.await, 200 | 409)),
            // A cancel whose answer was lost is told of itself when it asks again.
            Ends::Either => assert!(matches!(tokio::join!(pay, cancel), (200, 409) | (409, 200 | 409))),
        }
        bought.push(Bought { id, ends, lines });
    }
    bought
}

fn store(directory: &Path) -> String {
    format!("sqlite://{}", directory.join("shop.db").display())
}

/// Waits until nothing stored is left to do, looking on through an app that runs nothing.
async fn settled(directory: &Path) {
    let nobody: Arc<dyn Mailer> = Arc::new(Spool(directory.join("unused")));
    let settings = cqrs::Settings::from_toml(&format!("store = '{}'", store(directory))).unwrap();
    let observer = shop::app().settings(settings).provide_arc(nobody).await.unwrap();
    loop {
        let counts = observer.counts().await.unwrap();
        assert_eq!(counts.dead, 0, "{:?}", observer.dead_letters(3).await);
        let checkouts = observer.sagas().counts().await.unwrap();
        assert!(checkouts.iter().all(|count| count.phase != SagaPhase::Stuck), "{checkouts:?}");
        if counts.outbox + counts.work == 0 && checkouts.is_empty() {
            return observer.shutdown().await;
        }
        sleep(Duration::from_millis(50)).await;
    }
}

async fn check(directory: &Path, acknowledged: &[Bought]) {
    let pool = SqlitePool::connect(&store(directory)).await.unwrap();
    let orders: Vec<(String, String)> =
        sqlx::query_as("SELECT id, status FROM orders ORDER BY id").fetch_all(&pool).await.unwrap();
    let statuses: BTreeMap<_, _> = orders.iter().cloned().collect();
    let mut expected: Vec<_> = acknowledged
        .iter()
        .map(|order| {
            let found = statuses.get(&order.id).map(String::as_str);
            let status = match (order.ends, found) {
                (Ends::Placed, _) => "placed",
                (Ends::Paid, _) | (Ends::Either, Some("paid")) => "paid",
                (Ends::Cancelled | Ends::Either, _) => "cancelled",
            };
            (order.id.clone(), status.to_owned())
        })
        .collect();
    expected.sort();
    assert_eq!(orders, expected, "every acknowledged order is there, once, and no other");

    // The clients know what they asked for: the lines of each order are those, none of them twice.
    let texts: Vec<String> = sqlx::query_scalar("SELECT placed FROM orders").fetch_all(&pool).await.unwrap();
    let read = |text: String| {
        let order: PlaceOrder = serde_json::from_str(&text).unwrap();
        order.lines.into_iter().map(move |line| (order.id.clone(), line.sku, i64::from(line.quantity)))
    };
    let mut lines: Vec<_> = texts.into_iter().flat_map(read).collect();
    lines.sort();
    let asked = |sign| {
        move |order: &Bought| order.lines.map(|(sku, quantity)| (order.id.clone(), sku.to_owned(), sign * quantity))
    };
    let mut expected: Vec<_> = acknowledged.iter().flat_map(asked(1)).collect();
    expected.sort();
    assert_eq!(lines, expected, "every order is what its client asked for");

    // Out for each line of each paid order, and nothing twice; reserved for those, and for no other.
    let is_paid = |order: &&Bought| statuses[&order.id] == "paid";
    let moves: Vec<(String, String, i64)> =
        sqlx::query_as("SELECT order_id, sku, quantity FROM stock_moves ORDER BY 1, 2, 3")
            .fetch_all(&pool)
            .await
            .unwrap();
    let mut expected: Vec<_> = acknowledged.iter().filter(is_paid).flat_map(asked(-1)).collect();
    expected.sort();
    assert_eq!(moves, expected, "what was paid has gone out");
    let wrong: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM stock WHERE reserved +
         (SELECT coalesce(sum(quantity), 0) FROM stock_moves WHERE stock_moves.sku = stock.sku) <> 0",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(wrong, 0, "what was reserved has gone out, and nothing else is reserved");

    // Each paid order is paid once and in full, and no other has a payment.
    let payments: Vec<(String, i64, i64)> = sqlx::query_as(
        "SELECT order_id, count(*), sum(cents) = (SELECT total_cents FROM orders WHERE id = order_id)
         FROM payments GROUP BY order_id ORDER BY order_id",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    let mut expected: Vec<_> = acknowledged.iter().filter(is_paid).map(|order| (order.id.clone(), 1, 1)).collect();
    expected.sort();
    assert_eq!(payments, expected);

    // The customer of each order is its id.
    let mut mails = BTreeMap::<String, usize>::new();
    for entry in std::fs::read_dir(directory.join("spool")).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(path.extension().unwrap(), "json", "{} was left behind", path.display());
        let mail: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        *mails.entry(mail["to"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    let expected: BTreeMap<_, _> = orders.into_iter().map(|(id, _)| (id, 1)).collect();
    assert_eq!(mails, expected, "one mail for each order");
    let compensated: i64 = sqlx::query_scalar("SELECT count(*) FROM cqrs_sagas WHERE phase = 'compensated'")
        .fetch_one(&pool)
        .await
        .unwrap();
    let paid = acknowledged.iter().filter(is_paid).count();
    println!("{} orders over {KILLS} kills, {paid} paid, {compensated} checkouts undone", acknowledged.len());
}

fn random() -> u64 {
    RandomState::new().hash_one(0)
}
