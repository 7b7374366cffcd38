//! What one does with an app: send, query, stream, publish, schedule.

use super::App;
use crate::breaker::BreakerState;
use crate::dispatch::{Publish, Schedule, Sending};
use crate::message::{Command, Event, Query, Stored, Streaming};
use crate::stream::ItemStream;

impl App {
    /// Sends a command to its handler. The future's methods say more about the call; nothing happens until it is polled.
    ///
    /// Answers after the commit and after the plain handlers of the events it raised have ended. Dropped before the
    /// commit it rolls everything back; from the commit on, what follows goes on whoever listens.
    ///
    /// ```standalone_crate
    /// use cqrs::prelude::*;
    ///
    /// #[derive(Command)]
    /// #[command(response = u32)]
    /// struct Double(u32);
    ///
    /// #[command_handler]
    /// async fn double(cmd: Double) -> u32 {
    ///     cmd.0 * 2
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), cqrs::Error> {
    /// let app = cqrs::bootstrap!().await?;
    /// assert_eq!(app.send(Double(21)).await?, 42);
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn send<C: Command>(&self, command: C) -> Sending<'static, C> {
        Sending::new(self.clone(), command)
    }

    /// Asks a query. The future's methods say more about the call.
    #[inline]
    pub fn query<Q: Query>(&self, query: Q) -> Sending<'static, Q> {
        Sending::new(self.clone(), query)
    }

    /// Streams the items of a streaming command or query: the stream pulls, dropping it drops the handler.
    pub fn stream<M: Streaming>(&self, message: M) -> ItemStream<M> {
        ItemStream::new(self.clone(), message)
    }

    /// How the circuit breakers stand, by name.
    pub fn breakers(&self) -> Vec<BreakerState> {
        self.plan().panel.states()
    }

    /// Publishes an event: a notification event becomes an outbox row in a unit of its own, a domain event runs its
    /// handlers as if it had been raised in one.
    pub fn publish<E: Event>(&self, event: E) -> Publish {
        Publish::new(self.clone(), event)
    }

    /// Schedules a command: stored at once, due now unless the future's methods say otherwise.
    pub fn schedule<C: Command + Stored>(&self, command: C) -> Schedule {
        Schedule::new(self.clone(), command)
    }
}
