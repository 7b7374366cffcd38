//! The outbox, as people who operate a service look at it.

use super::{App, Operator};
use crate::Error;
use crate::store::{Operation, OutboxId, OutboxRow, OutboxSearch, OutboxState, OutboxStatus};

/// What waits to be published. Made by [`App::outbox`].
///
/// ```standalone_crate
/// use cqrs::prelude::*;
/// use cqrs::store::OutboxState;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(NotificationEvent, Clone, Serialize, Deserialize)]
/// #[event(topic = "orders")]
/// struct Placed { id: u32 }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), cqrs::Error> {
/// let app = cqrs::bootstrap!().store(Store::url("memory:")).broker(Broker::url("memory:")).await?;
/// app.publish(Placed { id: 1 }).await?;
///
/// let outbox = app.outbox();
/// let status = outbox.status().await?;
/// assert_eq!((status.ready, status.waiting, status.dead), (1, 0, 0));
/// assert!(status.oldest.is_some());
///
/// let rows = outbox.list(OutboxState::Ready, 100, None).await?;
/// assert_eq!((rows[0].record.name.as_str(), rows[0].record.topic.as_str()), ("Placed", "orders"));
/// assert!(!outbox.requeue(rows[0].id).await?, "it is ready already");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Outbox(Operator);

impl App {
    /// The outbox.
    pub fn outbox(&self) -> Outbox {
        self.itself().outbox()
    }
}

impl Outbox {
    pub(super) fn new(operator: Operator) -> Self {
        Self(operator)
    }

    /// How many rows are in which state, and how old the oldest is that is still to be published. Counting reads an index
    /// from end to end: for a dashboard, not for every call.
    ///
    /// # Errors
    /// Fails when the app has no store, or with what the store said.
    pub async fn status(&self) -> Result<OutboxStatus, Error> {
        Ok(self.0.app.operations()?.outbox_status().await?)
    }

    /// The rows in a state, in the order of storing, at most `limit`, behind the row of the page before.
    ///
    /// # Errors
    /// Fails when the app has no store, or with what the store said.
    pub async fn list(
        &self,
        state: OutboxState,
        limit: usize,
        after: Option<OutboxId>,
    ) -> Result<Vec<OutboxRow>, Error> {
        let search = OutboxSearch { state, topic: None, after, limit };
        Ok(self.0.app.operations()?.outbox_rows(search).await?)
    }

    /// The same for one topic.
    ///
    /// # Errors
    /// Fails when the app has no store, or with what the store said.
    pub async fn list_of(
        &self,
        topic: impl Into<String>,
        state: OutboxState,
        limit: usize,
        after: Option<OutboxId>,
    ) -> Result<Vec<OutboxRow>, Error> {
        let search = OutboxSearch { state, topic: Some(topic.into()), after, limit };
        Ok(self.0.app.operations()?.outbox_rows(search).await?)
    }

    /// Makes a row due now: one that waits is tried at once, a dead one is replayed. `false` where there is no such row in
    /// either state.
    ///
    /// # Errors
    /// Fails when the app has no store, or with what the store said.
    pub async fn requeue(&self, id: OutboxId) -> Result<bool, Error> {
        Ok(self.0.operate(Operation::Requeue(id), "").await?)
    }
}
