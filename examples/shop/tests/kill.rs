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
use program::Program;
use shop::{Mailer, Spool};
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
    cancelled: bool,
    lines: [(&'static str, i64); 2],
}

/// Places orders until it is enough, and cancels every fifth.
async fn buy(client: Client) -> Vec<Bought> {
    const SKUS: [&str; 3] = ["tea", "mug", "honey"];
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
        let cancelled = n % 5 == 4;
        if cancelled {
            // 409: an earlier attempt has cancelled it, and its answer was lost.
            let status = client.post(&format!("/orders/{id}/cancel"), "").await;
            assert!(matches!(status, 200 | 409), "{status}");
        }
        bought.push(Bought { id, cancelled, lines });
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
        if counts.outbox + counts.work == 0 {
            return observer.shutdown().await;
        }
        sleep(Duration::from_millis(50)).await;
    }
}

async fn check(directory: &Path, acknowledged: &[Bought]) {
    let pool = SqlitePool::connect(&store(directory)).await.unwrap();
    let orders: Vec<(String, String)> =
        sqlx::query_as("SELECT id, status FROM orders ORDER BY id").fetch_all(&pool).await.unwrap();
    let mut expected: Vec<_> = acknowledged
        .iter()
        .map(|order| (order.id.clone(), if order.cancelled { "cancelled" } else { "placed" }.to_owned()))
        .collect();
    expected.sort();
    assert_eq!(orders, expected, "every acknowledged order is there, once, and no other");

    // The clients know what they asked for: the lines of each order are those, none of them twice.
    let texts: Vec<(String, String)> = sqlx::query_as("SELECT id, lines FROM orders").fetch_all(&pool).await.unwrap();
    let read = |(id, lines): (String, String)| {
        let lines: Vec<shop::Line> = serde_json::from_str(&lines).unwrap();
        lines.into_iter().map(move |line| (id.clone(), line.sku, i64::from(line.quantity)))
    };
    let mut lines: Vec<_> = texts.into_iter().flat_map(read).collect();
    lines.sort();
    let asked = |sign| {
        move |order: &Bought| order.lines.map(|(sku, quantity)| (order.id.clone(), sku.to_owned(), sign * quantity))
    };
    let mut expected: Vec<_> = acknowledged.iter().flat_map(asked(1)).collect();
    expected.sort();
    assert_eq!(lines, expected, "every order is what its client asked for");

    // Out for each line of each order, back in for each line of each cancelled one; nothing twice.
    let moves: Vec<(String, String, i64)> =
        sqlx::query_as("SELECT order_id, sku, quantity FROM stock_moves ORDER BY 1, 2, 3")
            .fetch_all(&pool)
            .await
            .unwrap();
    let cancelled = acknowledged.iter().filter(|order| order.cancelled);
    let mut expected: Vec<_> = acknowledged.iter().flat_map(asked(-1)).chain(cancelled.flat_map(asked(1))).collect();
    expected.sort();
    assert_eq!(moves, expected, "stock moved as the clients asked");
    let wrong: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM stock WHERE on_hand <> 100000 +
         (SELECT coalesce(sum(quantity), 0) FROM stock_moves WHERE stock_moves.sku = stock.sku)",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(wrong, 0, "stock is the sum of its moves");

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
    println!("{} orders over {KILLS} kills", acknowledged.len());
}

fn random() -> u64 {
    RandomState::new().hash_one(0)
}
