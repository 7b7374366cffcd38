//! What a page sees of an order: a streaming command that reads the log of its saga. It asks the store, so that it does not matter which
//! instance of the service goes on with the saga, and which one serves the page.

use std::time::Duration;

use cqrs::SagaError;
use cqrs::prelude::*;
use cqrs::store::SagaLog;
use serde::{Deserialize, Serialize};

use crate::order::{Order, OrderError};

/// How often the store is asked.
const LOOK: Duration = Duration::from_millis(100);

/// Changes nothing. A command all the same: a query is given no `&App`, with which one can do everything.
#[derive(Command, Deserialize)]
#[command(item = Line, error = OrderError)]
pub(crate) struct WatchOrder {
    pub(crate) number: u32,
    /// The last line that is known already.
    #[serde(default)]
    pub(crate) after: u64,
}

/// An attempt at a step, or at undoing it.
#[derive(Serialize)]
pub(crate) struct Line {
    step: String,
    came_to: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl From<SagaLog> for Line {
    fn from(entry: SagaLog) -> Self {
        Self { step: entry.step, came_to: entry.progress.as_str(), error: entry.error }
    }
}

#[command_handler]
async fn watch_order(cmd: WatchOrder, items: &mut Items<Line>, app: &App) -> Result<(), OrderError> {
    let (id, mut seen) = (format!("order-{}", cmd.number), cmd.after);
    loop {
        // In this order: once it has ended, its log is whole.
        let Some((row, _)) = app.sagas().get(&id).await? else { return Err(OrderError::NoSuchOrder(cmd.number)) };
        for entry in app.sagas().history(&id).await? {
            let number = u64::from(entry.number);
            if number > seen {
                seen = number;
                items.send(entry.into()).await;
            }
        }
        // One that is stuck has not: it goes on when somebody has looked at it.
        if row.phase.is_end() {
            break;
        }
        tokio::time::sleep(LOOK).await;
    }
    match app.sagas().join::<Order>(&id).await {
        Ok(_) => Ok(()),
        Err(SagaError::Compensated { source, .. }) => Err(OrderError::Undone(source)),
        Err(error) => Err(error.into()),
    }
}
