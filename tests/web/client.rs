//! Who asks: a client without a socket and one with, and what they are answered.

use std::net::SocketAddr;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use cqrs::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tower::ServiceExt;

use crate::support::{Harness, Probe, bounded};

/// Tells when it is dropped, and with it the handler that holds it.
pub struct Dropped(pub Inject<Probe>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.note("dropped");
    }
}

impl Harness {
    /// The app itself.
    pub fn plain(&self) -> App {
        App::clone(&self.app)
    }

    /// One request to a router, without a socket.
    pub async fn ask(&self, router: Router<App>, request: Request<Body>) -> Answer {
        ask(router.with_state(self.plain()), request).await
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
