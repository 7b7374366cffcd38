//! A connection that is made when it is needed, and made again when it was lost.
//!
//! The library's own recovery is not used: it replays on the new connection what was sent on the old one, so that who
//! waits for a confirmation cannot know which of the two it is about.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::{Connection, Event};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::address::Address;
use super::fault::Fault;

/// How long closing waits for the server.
const CLOSING: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Link {
    address: Arc<Address>,
    purpose: &'static str,
    current: Mutex<Current>,
    closing: CancellationToken,
}

#[derive(Debug, Default)]
struct Current {
    connected: Option<Connected>,
    generation: u64,
}

/// A connection and its number: what was declared or sent on one of another number must not be relied on.
#[derive(Debug, Clone)]
pub(super) struct Connected {
    pub(super) connection: Arc<Connection>,
    pub(super) generation: u64,
}

impl Link {
    pub(super) fn new(address: Arc<Address>, purpose: &'static str) -> Self {
        Self { address, purpose, current: Mutex::default(), closing: CancellationToken::new() }
    }

    /// The connection, made anew where there is none that is up. Makes one attempt.
    pub(super) async fn get(&self) -> Result<Connected, Fault> {
        let mut current = self.current.lock().await;
        if self.closing.is_cancelled() {
            return Err(Fault::closed());
        }
        if let Some(connected) = current.connected.as_ref().filter(|it| it.connection.status().connected()) {
            return Ok(connected.clone());
        }
        current.connected = None;
        let connecting = self.closing.run_until_cancelled(self.address.connect(self.purpose));
        let connection = Arc::new(connecting.await.unwrap_or_else(|| Err(Fault::closed()))?);
        watch(&connection, self.purpose);
        current.generation += 1;
        let connected = Connected { connection, generation: current.generation };
        current.connected = Some(connected.clone());
        Ok(connected)
    }

    /// Closes the connection for good.
    pub(super) async fn close(&self) {
        self.closing.cancel();
        if let Some(connected) = self.current.lock().await.connected.take() {
            // What is lost already cannot be closed, which is as good; nor what hangs, which notices it later.
            let _ = tokio::time::timeout(CLOSING, connected.connection.close(200, "closed".into())).await;
        }
    }
}

/// Says when the server takes no messages because it is short of memory or disk: who waits for it meanwhile is silent.
fn watch(connection: &Connection, purpose: &'static str) {
    let mut events = Box::pin(connection.events_listener());
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            match event {
                Event::ConnectionBlocked(reason) => {
                    tracing::warn!(reason, purpose, "the AMQP broker takes no messages; they wait");
                }
                Event::ConnectionUnblocked => tracing::info!(purpose, "the AMQP broker takes messages again"),
                _ => {}
            }
        }
    });
}
