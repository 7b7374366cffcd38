//! What all modules share: one builder that everything linked here can be wired with, and a probe for each test.

use std::collections::HashMap;
use std::future::Future;
use std::ops::Deref;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cqrs::broker::MemoryBroker;
use cqrs::broker::driver::{Driver, Outgoing};
use cqrs::prelude::*;
use cqrs::sqlx::{self, Sqlite, SqlitePool};
use cqrs::testing::TestApp;
use cqrs::{Builder, Delivery};
use tempfile::TempDir;
use tokio::sync::{Notify, Semaphore};
use uuid::Uuid;

pub use self::log::Log;

#[path = "log.rs"]
mod log;

/// The longest any test may take: far beyond what a healthy one needs, on a busy machine too.
const LONGEST: Duration = Duration::from_secs(90);

/// Ends a test that hangs.
pub async fn bounded<T>(test: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONGEST, test).await.expect("the test hangs")
}

/// What a future gives within so many polls.
pub async fn polled<F: Future>(mut polls: u32, future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|cx| {
        if polls == 0 {
            return std::task::Poll::Ready(None);
        }
        polls -= 1;
        future.as_mut().poll(cx).map(Some)
    })
    .await
}

/// Longer than any pause between two attempts.
pub const HOUR: Duration = Duration::from_secs(3600);

/// A place at which a handler reports and waits, until the test lets it pass.
#[derive(Debug)]
struct Gate {
    arrived: Semaphore,
    passes: Semaphore,
}

/// What handlers tell a test, and how a test steers them. Every test has its own.
#[derive(Debug, Default)]
pub struct Probe {
    log: Mutex<Vec<String>>,
    noted: Notify,
    gates: Mutex<HashMap<String, Arc<Gate>>>,
    failures: Mutex<HashMap<String, u32>>,
    pool: Mutex<Option<SqlitePool>>,
}

impl Probe {
    /// Notes that something happened.
    pub fn note(&self, text: impl Into<String>) {
        self.log.lock().unwrap().push(text.into());
        self.noted.notify_waiters();
    }

    /// What was noted, in order.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// How often something was noted.
    pub fn count(&self, text: &str) -> usize {
        self.log.lock().unwrap().iter().filter(|noted| *noted == text).count()
    }

    /// Waits until something was noted so often.
    pub async fn noted(&self, text: &str, times: usize) {
        let enough = async {
            loop {
                let noted = self.noted.notified();
                if self.count(text) >= times {
                    return;
                }
                noted.await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(45), enough).await;
        assert!(waited.is_ok(), "`{text}` was not noted {times} times, but: {:?}", self.log());
    }

    /// Makes whoever comes to a place wait there.
    pub fn close(&self, place: &str) {
        let gate = Gate { arrived: Semaphore::new(0), passes: Semaphore::new(0) };
        self.gates.lock().unwrap().insert(place.to_owned(), Arc::new(gate));
    }

    /// Passes a place, at once where no test has closed it.
    pub async fn pass(&self, place: &str) {
        let gate = self.gates.lock().unwrap().get(place).cloned();
        if let Some(gate) = gate {
            gate.arrived.add_permits(1);
            gate.passes.acquire().await.unwrap().forget();
        }
    }

    /// Waits until somebody has come to a place that is closed; each arrival is seen once.
    pub async fn arrived(&self, place: &str) {
        let gate = self.gates.lock().unwrap().get(place).cloned().expect("closed before");
        let arrived = tokio::time::timeout(Duration::from_secs(45), gate.arrived.acquire()).await;
        arrived.unwrap_or_else(|_| panic!("nobody came to `{place}`, but: {:?}", self.log())).unwrap().forget();
    }

    /// Lets one pass.
    pub fn open(&self, place: &str) {
        let gate = self.gates.lock().unwrap().get(place).cloned().expect("closed before");
        gate.passes.add_permits(1);
    }

    /// Makes the next attempts at something fail.
    pub fn fail(&self, what: &str, times: u32) {
        self.failures.lock().unwrap().insert(what.to_owned(), times);
    }

    /// Fails where a test asked for it.
    pub fn try_it(&self, what: &str) -> Result<(), Refused> {
        let mut failures = self.failures.lock().unwrap();
        match failures.get_mut(what) {
            Some(left) if *left > 0 => {
                *left -= 1;
                Err(Refused(what.to_owned()))
            }
            _ => Ok(()),
        }
    }

    /// The store's pool.
    pub fn pool(&self) -> SqlitePool {
        self.pool.lock().unwrap().clone().expect("the app has started")
    }

    /// The rows that handlers wrote, in order.
    pub async fn rows(&self) -> Vec<String> {
        sqlx::query_scalar("SELECT text FROM notes ORDER BY id").fetch_all(&self.pool()).await.unwrap()
    }
}

/// The error of handlers that a test made fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused(pub String);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "refused: {}", self.0)
    }
}

impl std::error::Error for Refused {}

/// Writes a row of the user's in the unit of work.
pub async fn write(tx: &mut Tx<Sqlite>, text: impl Into<String>) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO notes (text) VALUES (?)").bind(text.into()).execute(&mut **tx).await.map(drop)
}

/// The user's table exists before any handler runs.
pub struct Schema;

#[provider]
async fn schema(pool: Inject<SqlitePool>, probe: Inject<Probe>) -> Result<Schema, sqlx::Error> {
    sqlx::query("CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL)")
        .execute(&*pool)
        .await?;
    *probe.pool.lock().unwrap() = Some(SqlitePool::clone(&pool));
    Ok(Schema)
}

/// The builder with everything that the modules of this binary need, and with every middleware.
pub fn with_middleware(probe: &Arc<Probe>) -> Builder {
    let builder = cqrs::bootstrap!()
        .store(Store::url("sqlite://moved-by-the-test-kit.db"))
        .broker(Broker::url("memory:"))
        .provide_arc::<Probe>(Arc::clone(probe));
    crate::complete(builder)
}

/// The same without middleware, as most tests want it.
pub fn app(probe: &Arc<Probe>) -> Builder {
    with_middleware(probe).retain_middlewares(|_| false)
}

/// A test app and its probe.
pub struct Harness {
    pub app: TestApp,
    pub probe: Arc<Probe>,
}

impl Deref for Harness {
    type Target = TestApp;

    fn deref(&self) -> &TestApp {
        &self.app
    }
}

impl Harness {
    /// Everything runs.
    pub async fn start() -> Self {
        Self::with(|builder| builder).await
    }

    /// Nothing that is stored moves: rows can be counted.
    pub async fn idle() -> Self {
        Self::with(|builder| builder.run([""; 0])).await
    }

    pub async fn with(change: impl FnOnce(Builder) -> Builder) -> Self {
        let probe = Arc::new(Probe::default());
        let app = TestApp::new(change(app(&probe))).await.unwrap();
        Self { app, probe }
    }

    /// Everything runs, with a broker the test can publish to.
    pub async fn with_broker(change: impl FnOnce(Builder) -> Builder) -> (Self, MemoryBroker) {
        let broker = MemoryBroker::new();
        let driver = Broker::driver(broker.clone());
        (Self::with(|builder| change(builder).broker(driver)).await, broker)
    }

    pub async fn rows(&self) -> Vec<String> {
        self.probe.rows().await
    }

    /// Settles an hour later: whatever waits for its next attempt has had it.
    pub async fn settle_an_hour_later(&self) {
        self.advance(HOUR).await;
        self.settle().await;
    }

    /// Settles so often, an hour apart, with an hour to go after the last.
    pub async fn settle_for_hours(&self, hours: usize) {
        for _ in 0..hours {
            self.settle().await;
            self.advance(HOUR).await;
        }
    }

    /// The number of rows in the outbox and of stored work, dead letters not among them.
    pub async fn stored(&self) -> (u64, u64) {
        let counts = self.counts().await.unwrap();
        (counts.outbox, counts.work)
    }

    /// The errors of the dead letters, oldest first.
    pub async fn dead(&self) -> Vec<cqrs::store::DeadLetter> {
        self.dead_letters(100).await.unwrap()
    }
}

/// Publishes one raw message and waits until every group has settled it.
pub async fn publish(broker: &MemoryBroker, id: Uuid, delivery: Delivery) {
    let results = broker.publish(vec![Outgoing { id, delivery }]).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
}

/// A message as the wire carries it, without headers.
pub fn message(topic: &str, name: &str, id: Uuid, payload: &serde_json::Value) -> Delivery {
    let body = serde_json::json!({
        "payload": payload, "event_id": id, "event_timestamp": "2026-01-02T03:04:05Z", "event_name": name, "topic": topic,
    });
    Delivery::new(topic, body.to_string())
}

/// An app on a file that outlives it.
pub async fn on_file(file: &Path, probe: &Arc<Probe>, change: impl FnOnce(Builder) -> Builder) -> App {
    let builder = app(probe).store(Store::url(format!("sqlite://{}", file.display())));
    change(builder).await.unwrap()
}

/// A process of its own that runs one test of this binary, without any settings in its environment.
pub fn process(test: &str) -> std::process::Command {
    process_of(&std::env::current_exe().unwrap(), test)
}

fn process_of(program: &Path, test: &str) -> std::process::Command {
    let mut process = std::process::Command::new(program);
    process.args(["--exact", test, "--include-ignored", "--nocapture"]);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CQRS_")) {
        process.env_remove(name);
    }
    process
}

/// The same as somebody whom the rights of files bind: the superuser passes over them. Everybody may enter the directory.
#[cfg(unix)]
pub fn bound_process(directory: &Path, test: &str) -> std::process::Command {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::os::unix::process::CommandExt;
    if std::fs::metadata(directory).unwrap().uid() != 0 {
        return process(test);
    }
    // The program may stand where nobody else may go.
    let (program, own) = (directory.join("program"), std::env::current_exe().unwrap());
    std::fs::hard_link(&own, &program).or_else(|_| std::fs::copy(&own, &program).map(drop)).unwrap();
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o777)).unwrap();
    let mut process = process_of(&program, test);
    process.uid(65534).gid(65534);
    process
}

/// What a process printed that must have passed.
pub fn printed(process: &mut std::process::Command) -> String {
    let output = process.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// A directory for files that outlive an app.
pub fn directory() -> TempDir {
    tempfile::Builder::new().prefix("cqrs-core-").tempdir().unwrap()
}

/// An app that runs in the background until it is stopped.
pub struct Running {
    pub app: App,
    stop: Arc<Notify>,
    task: tokio::task::JoinHandle<Result<(), cqrs::Error>>,
}

impl Running {
    pub fn start(app: App) -> Self {
        let stop = Arc::new(Notify::new());
        let (running, stopped) = (app.clone(), Arc::clone(&stop));
        let task = tokio::spawn(async move { running.run_until(stopped.notified()).await });
        Self { app, stop, task }
    }

    /// Tells it to stop, without waiting.
    pub fn tell(&self) {
        self.stop.notify_one();
    }

    pub async fn stop(self) {
        self.tell();
        self.ended().await;
    }

    pub async fn ended(self) {
        self.task.await.unwrap().unwrap();
    }
}
