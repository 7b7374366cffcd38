//! Mail: the way out of the database, where nothing can be rolled back.

use std::io;
use std::path::PathBuf;

use async_trait::async_trait;
use cqrs::prelude::*;
use tokio::fs;
use uuid::Uuid;

use crate::messages::OrderPlaced;

/// Sends mails. The same id is the same mail, however often it is sent.
#[async_trait]
pub trait Mailer: Send + Sync {
    async fn send(&self, id: Uuid, to: &str, text: &str) -> io::Result<()>;
}

/// Stored with the order and tried until it succeeds, so possibly twice: by the message's id the mailer knows a repeat.
#[event_handler(durable, retry(max = 8, first = "1s", ceiling = "5m"))]
async fn confirm(OrderPlaced(order): &OrderPlaced, meta: &Meta, mailer: Inject<dyn Mailer>) -> io::Result<()> {
    let text = format!("Thank you for order {}. It comes to {} cents.", order.placed.id, order.total_cents);
    mailer.send(meta.id(), &order.placed.customer, &text).await
}

/// A directory with a file for each mail, for another program to send.
#[derive(Debug)]
pub struct Spool(pub PathBuf);

#[async_trait]
impl Mailer for Spool {
    async fn send(&self, id: Uuid, to: &str, text: &str) -> io::Result<()> {
        // Renamed when it is whole: nobody sees half a mail, and a repeat replaces the file by its like. (One that must
        // outlast a power cut would be synced, too.)
        let (unfinished, whole) = (self.0.join(format!("{id}.tmp")), self.0.join(format!("{id}.json")));
        fs::write(&unfinished, serde_json::json!({"to": to, "text": text}).to_string()).await?;
        fs::rename(unfinished, whole).await
    }
}
