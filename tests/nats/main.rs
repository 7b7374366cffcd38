//! Two services with NATS between them: what one commits, the other handles, once and in order for each key.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use cqrs::prelude::*;
use cqrs::sqlx::{self, SqlitePool};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

const ORDERS: u32 = 20;
const STEPS: u32 = 10;

#[derive(NotificationEvent, Clone, Serialize, Deserialize)]
#[event(name = "order_moved", topic = "nats.orders", key = order)]
struct OrderMoved {
    order: u32,
    step: u32,
}

#[derive(Command)]
#[command(error = sqlx::Error)]
struct Move {
    order: u32,
    step: u32,
}

#[command_handler]
async fn move_order(cmd: Move, tx: &mut Tx<sqlx::Sqlite>, events: &mut Events) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO moved VALUES (?, ?)").bind(cmd.order).bind(cmd.step).execute(&mut **tx).await?;
    events.raise(OrderMoved { order: cmd.order, step: cmd.step });
    Ok(())
}

#[event_handler(group = "nats-billing")]
async fn order_moved(e: OrderMoved, tx: &mut Tx<sqlx::Sqlite>) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO billed (ord, step) VALUES (?, ?)").bind(e.order).bind(e.step).execute(&mut **tx).await?;
    Ok(())
}

/// A service that runs, until it is told to stop, and a look at its database.
struct Service {
    app: cqrs::App,
    pool: SqlitePool,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), cqrs::Error>>,
}

impl Service {
    async fn start(directory: &Path, name: &str, run: &'static str, url: &str) -> Self {
        let file = format!("sqlite://{}", directory.join(format!("{name}.db")).display());
        let app = cqrs::bootstrap!().store(Store::url(&file)).broker(Broker::url(url)).run([run]).await.unwrap();
        let pool = SqlitePool::connect(&file).await.unwrap();
        for table in [
            "CREATE TABLE IF NOT EXISTS moved (ord INT, step INT)",
            "CREATE TABLE IF NOT EXISTS billed (at INTEGER PRIMARY KEY AUTOINCREMENT, ord INT, step INT)",
        ] {
            sqlx::query(table).execute(&pool).await.unwrap();
        }
        let (stop, stopped) = oneshot::channel::<()>();
        let running = app.clone();
        let task = tokio::spawn(async move { running.run_until(async { drop(stopped.await) }).await });
        Self { app, pool, stop, task }
    }

    async fn stop(self) {
        self.stop.send(()).expect("it runs");
        self.task.await.unwrap().unwrap();
    }

    async fn billed(&self) -> Vec<(u32, u32)> {
        sqlx::query_as("SELECT ord, step FROM billed ORDER BY at").fetch_all(&self.pool).await.unwrap()
    }
}

/// A NATS server on a port of its own. Dropped, it is gone.
struct Server {
    port: u16,
    child: Child,
}

impl Server {
    async fn start(directory: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let spawned = Command::new("nats-server")
            .args(["-a", "127.0.0.1", "-p", &port.to_string(), "-js", "-sd"])
            .arg(directory.join("nats"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = spawned.expect("`nats-server` is on the path: Debian's package `nats-server` brings it");
        let server = Self { port, child };
        let answers = async {
            while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), answers).await.expect("the server comes up");
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn g8_g9_g10_what_one_service_commits_another_handles_once_and_in_order() {
    let directory = TempDir::new().unwrap();
    // The topic's name stands in the code, and a group that is new reads a topic from its beginning: that of an earlier run too,
    // where the server is shared.
    let server = Server::start(directory.path()).await;
    let url = format!("nats://127.0.0.1:{}", server.port);
    let shop = Service::start(directory.path(), "shop", "relay", &url).await;
    let mut billing = Service::start(directory.path(), "billing", "group:nats-billing", &url).await;
    for step in 0..STEPS {
        for order in 0..ORDERS {
            shop.app.send(Move { order, step }).await.unwrap();
        }
        // In the middle of it all the consumer is stopped and started again.
        if step == STEPS / 2 {
            billing.stop().await;
            billing = Service::start(directory.path(), "billing", "group:nats-billing", &url).await;
        }
    }
    let whole = (ORDERS * STEPS) as usize;
    let waiting = async {
        while billing.billed().await.len() < whole {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("everything is handled");
    tokio::time::sleep(Duration::from_millis(500)).await;
    let billed = billing.billed().await;
    assert_eq!(billed.len(), whole, "once");
    for order in 0..ORDERS {
        let steps: Vec<_> = billed.iter().filter(|(its, _)| *its == order).map(|(_, step)| *step).collect();
        assert_eq!(steps, (0..STEPS).collect::<Vec<_>>(), "in order");
    }
    billing.stop().await;
    shop.stop().await;
}
