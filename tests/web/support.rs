//! What all modules share: an app, a router, a client without a socket and one with.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use cqrs::Builder;
use cqrs::prelude::*;
use cqrs::sqlx::{self, Sqlite, SqlitePool};
use cqrs::testing::TestApp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tower::ServiceExt;

/// The longest any wait may take: far beyond what a healthy one needs, on a busy machine too.
const LONGEST: Duration = Duration::from_secs(45);

/// Ends a wait that hangs.
pub async fn bounded<T>(wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONGEST, wait).await.expect("this hangs")
}

/// What handlers tell a test, and where they wait for it. Every test has its own.
#[derive(Debug, Default)]
pub struct Probe {
    log: Mutex<Vec<String>>,
    noted: Notify,
    gates: Mutex<HashMap<String, Arc<Semaphore>>>,
}

impl Probe {
    pub fn note(&self, text: impl Into<String>) {
        self.log.lock().unwrap().push(text.into());
        self.noted.notify_waiters();
    }

    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    pub fn count(&self, text: &str) -> usize {
        self.log.lock().unwrap().iter().filter(|noted| *noted == text).count()
    }

    /// Waits until something was noted.
    pub async fn noted(&self, text: &str) {
        bounded(async {
            loop {
                let noted = self.noted.notified();
                if self.count(text) > 0 {
                    return;
                }
                noted.await;
            }
        })
        .await;
    }

    /// Waits at a place until the test opens it.
    pub async fn pass(&self, place: &str) {
        self.gate(place).acquire().await.unwrap().forget();
    }

    /// Lets so many pass.
    pub fn open(&self, place: &str, times: usize) {
        self.gate(place).add_permits(times);
    }

    fn gate(&self, place: &str) -> Arc<Semaphore> {
        let mut gates = self.gates.lock().unwrap();
        Arc::clone(gates.entry(place.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(0))))
    }
}

/// Tells when it is dropped, and with it the handler that holds it.
pub struct Dropped(pub Inject<Probe>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.note("dropped");
    }
}

/// The user's table exists before any handler runs.
pub struct Schema;

#[provider]
async fn schema(pool: Inject<SqlitePool>) -> Result<Schema, sqlx::Error> {
    sqlx::query("CREATE TABLE IF NOT EXISTS notes (text TEXT NOT NULL)").execute(&*pool).await?;
    Ok(Schema)
}

pub async fn write(tx: &mut Tx<Sqlite>, text: &str) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO notes (text) VALUES (?)").bind(text).execute(&mut **tx).await.map(drop)
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
    pub async fn start() -> Self {
        Self::with(|builder| builder.retain_middlewares(|_| false)).await
    }

    pub async fn with(change: impl FnOnce(Builder) -> Builder) -> Self {
        let probe = Arc::new(Probe::default());
        let builder = cqrs::bootstrap!()
            .store(Store::url("sqlite://moved-by-the-test-kit.db"))
            .provide_arc::<Probe>(Arc::clone(&probe))
            .elsewhere::<crate::problems::HandledElsewhere>();
        Self { app: TestApp::new(change(builder)).await.unwrap(), probe }
    }

    /// The app itself.
    pub fn plain(&self) -> App {
        App::clone(&self.app)
    }

    /// One request to a router, without a socket.
    pub async fn ask(&self, router: Router<App>, request: Request<Body>) -> Answer {
        ask(router.with_state(self.plain()), request).await
    }

    /// The rows that handlers wrote, in order.
    pub async fn rows(&self) -> Vec<String> {
        let pool = self.app.unit::<Sqlite>().await.unwrap();
        let mut unit = pool;
        sqlx::query_scalar("SELECT text FROM notes ORDER BY rowid").fetch_all(&mut **unit.tx()).await.unwrap()
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// The problem that the answer is; checks what all of them have in common.
    pub fn problem(&self) -> serde_json::Value {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], self.status.as_u16(), "{self:?}");
        assert!(problem["title"].is_string() && problem["type"].is_string(), "{self:?}");
        problem
    }

    /// The problem's detail.
    pub fn detail(&self) -> String {
        self.problem()["detail"].as_str().unwrap_or_default().to_owned()
    }
}

pub async fn ask(router: Router, request: Request<Body>) -> Answer {
    bounded(async {
        let response = router.oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        Answer { status: parts.status, headers: parts.headers, body: String::from_utf8(body.into()).unwrap() }
    })
    .await
}

pub fn get(uri: &str) -> Request<Body> {
    Request::get(uri).body(Body::empty()).unwrap()
}

/// A request with a JSON body.
pub fn json(method: &str, uri: &str, body: impl Into<Body>) -> Request<Body> {
    let request = Request::builder().method(method).uri(uri).header("content-type", "application/json");
    request.body(body.into()).unwrap()
}

/// A request without a body.
pub fn empty(method: &str, uri: &str) -> Request<Body> {
    Request::builder().method(method).uri(uri).body(Body::empty()).unwrap()
}

/// A router that listens at a socket, until it is dropped or the app stops.
pub struct Served {
    pub address: SocketAddr,
    pub task: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Served {
    pub async fn start(harness: &Harness, router: Router<App>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = harness.plain();
        let server = axum::serve(listener, router.with_state(app.clone())).with_graceful_shutdown(app.stopping());
        Self { address, task: tokio::spawn(server.into_future()) }
    }

    /// Sends bytes, and leaves the answer to be read.
    pub async fn open(&self, request: impl AsRef<[u8]>) -> Client {
        // What is not read stays with the server.
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut stream = socket.connect(self.address).await.unwrap();
        stream.write_all(request.as_ref()).await.unwrap();
        Client { stream, received: String::new() }
    }

    /// Sends a request without a body.
    pub async fn request(&self, method: &str, path: &str) -> Client {
        self.open(format!("{method} {path} HTTP/1.1\r\nhost: shop\r\n\r\n")).await
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A client at a socket.
pub struct Client {
    stream: TcpStream,
    pub received: String,
}

impl Client {
    /// Reads until a text has come; gives what came so far.
    pub async fn until(&mut self, text: &str) -> &str {
        bounded(async {
            while !self.received.contains(text) {
                assert!(self.read().await > 0, "`{text}` did not come, but: {}", self.received);
            }
        })
        .await;
        &self.received
    }

    /// Reads until the server has closed the connection.
    pub async fn rest(mut self) -> String {
        bounded(async { while self.read().await > 0 {} }).await;
        self.received
    }

    async fn read(&mut self) -> usize {
        let mut bytes = [0; 4096];
        let read = self.stream.read(&mut bytes).await.unwrap_or(0);
        self.received.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
        read
    }
}

/// What this thread logs, warnings and errors, for as long as it lives.
pub struct Log {
    text: Arc<Mutex<Vec<u8>>>,
    _until_dropped: tracing::subscriber::DefaultGuard,
}

impl Log {
    pub fn start() -> Self {
        let text = Arc::new(Mutex::new(Vec::new()));
        let writer = Arc::clone(&text);
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::WARN)
            .with_ansi(false)
            .with_writer(move || LogWriter(Arc::clone(&writer)))
            .finish();
        Self { text, _until_dropped: tracing::subscriber::set_default(subscriber) }
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.text.lock().unwrap().clone()).unwrap()
    }
}

struct LogWriter(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
