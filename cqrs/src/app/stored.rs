//! What is stored, as operations look at it: counts, timers, dead letters, and what was done to them.

use std::time::{Duration, SystemTime};

use super::{App, Bulk, EditError};
use crate::Error;
use crate::message::Command;
use crate::store::{
    AuditEntry, Counts, DeadFilter, DeadLetter, DeadLetterId, DeadSearch, TimerFilter, TimerName, TimerRecord,
};

impl App {
    /// How much of everything the store holds; `dead` is what an alert looks at.
    ///
    /// # Errors
    /// Fails when the app has no store, or with what the store said.
    pub async fn counts(&self) -> Result<Counts, Error> {
        Ok(self.need_store()?.counts().await?)
    }

    /// The dead letters, oldest first, at most `limit`.
    ///
    /// # Errors
    /// Fails when the app has no store, or with what the store said.
    pub async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        Ok(self.need_store()?.dead_letters(limit).await?)
    }

    /// The dead letters that a filter takes, oldest first, at most `limit`, behind the last one of the page before.
    ///
    /// ```standalone_crate
    /// use cqrs::prelude::*;
    /// use cqrs::store::DeadFilter;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), cqrs::Error> {
    /// # let app = cqrs::bootstrap!().store(Store::url("memory:")).await?;
    /// let timeouts = DeadFilter::new().group("billing").error("timed out");
    /// let mut last = None;
    /// loop {
    ///     let page = app.find_dead_letters(&timeouts, 50, last.as_ref()).await?;
    ///     for letter in &page {
    ///         println!("{} of {}: {}", letter.name, letter.topic, letter.error);
    ///     }
    ///     last = page.into_iter().last();
    ///     if last.is_none() {
    ///         break;
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Fails when the app has no store, or with what the store said.
    pub async fn find_dead_letters(
        &self,
        filter: &DeadFilter,
        limit: usize,
        after: Option<&DeadLetter>,
    ) -> Result<Vec<DeadLetter>, Error> {
        let after = after.map(|letter| (letter.created_at, letter.id));
        let search = DeadSearch { filter: filter.clone(), after, limit, with_payload: true };
        Ok(self.operations()?.find_dead(search).await?)
    }

    /// A dead letter, with all that is known of it. `None` where there is none of this name.
    ///
    /// # Errors
    /// Fails when the app has no store, or with what the store said.
    pub async fn dead_letter(&self, id: DeadLetterId) -> Result<Option<DeadLetter>, Error> {
        Ok(self.operations()?.dead_letter(id).await?)
    }

    /// Makes a dead letter due again, its attempts forgotten. `false` where there is none of this name.
    ///
    /// What is done by this and the following is written down under the name of this app's start; under somebody's name it is
    /// done by [`operator`](Self::operator).
    ///
    /// # Errors
    /// Fails when the app has no store, or with what the store said.
    pub async fn replay(&self, id: DeadLetterId) -> Result<bool, Error> {
        self.itself().replay(id).await
    }

    /// Deletes a dead letter; the later messages of its key go on. `false` where there is none of this name.
    ///
    /// # Errors
    /// Fails when the app has no store, or with what the store said.
    pub async fn discard(&self, id: DeadLetterId) -> Result<bool, Error> {
        self.itself().discard(id).await
    }

    /// Gives a dead letter another payload and replays it: see [`Operator::edit_and_replay`](super::Operator::edit_and_replay).
    ///
    /// # Errors
    /// Fails where the payload cannot be read as that message; nothing is changed then.
    pub async fn edit_and_replay(&self, id: DeadLetterId, payload: impl Into<Vec<u8>>) -> Result<bool, EditError> {
        self.itself().edit_and_replay(id, payload).await
    }

    /// Replays every dead letter that a filter takes.
    pub fn replay_all(&self, filter: DeadFilter) -> Bulk {
        self.itself().replay_all(filter)
    }

    /// Discards every dead letter that a filter takes.
    pub fn discard_all(&self, filter: DeadFilter) -> Bulk {
        self.itself().discard_all(filter)
    }

    /// The timers that wait, soonest first, at most `limit`.
    ///
    /// # Errors
    /// Fails when the app has no store, or with what the store said.
    pub async fn timers(&self, limit: usize) -> Result<Vec<TimerRecord>, Error> {
        Ok(self.need_store()?.timers(limit).await?)
    }

    /// The timers that wait and that a filter takes, soonest first, at most `limit`.
    ///
    /// # Errors
    /// Fails when the app has no store, or with what the store said.
    pub async fn find_timers(&self, filter: &TimerFilter, limit: usize) -> Result<Vec<TimerRecord>, Error> {
        Ok(self.operations()?.find_timers(filter.clone(), limit).await?)
    }

    /// How late the timer is that should have fired first: nothing where none is due. More than a second or so says that
    /// nobody runs the timers, or that they are more than can be done; after an outage it falls to nothing when what fell due
    /// meanwhile has been done.
    ///
    /// # Errors
    /// Fails when the app has no store, or with what the store said.
    pub async fn timer_delay(&self) -> Result<Duration, Error> {
        let first = self.need_store()?.timers(1).await?.into_iter().next();
        let now = self.clock().now();
        Ok(first.and_then(|timer| now.duration_since(timer.due_at).ok()).unwrap_or_default())
    }

    /// Moves a timer, by its id or by command and key: see [`Operator::reschedule_timer`](super::Operator::reschedule_timer).
    ///
    /// # Errors
    /// Fails when the app has no store, or with what the store said.
    pub async fn reschedule_timer(&self, timer: impl Into<TimerName>, at: SystemTime) -> Result<bool, Error> {
        self.itself().reschedule_timer(timer, at).await
    }

    /// Cancels the timer of a command by its key. `false` where none waits.
    ///
    /// # Errors
    /// Fails when the app has no store, or with what the store said.
    pub async fn cancel_timer<C: Command>(&self, key: &str) -> Result<bool, Error> {
        self.itself().cancel_timer(TimerName::of::<C>(key)).await
    }

    /// What was done to dead letters, the outbox and timers, and by whom: latest first, at most `limit`, before the last entry
    /// of the page before. Kept for `audit_retention`, 90 days unless said otherwise.
    ///
    /// # Errors
    /// Fails when the app has no store, or with what the store said.
    pub async fn audit(&self, limit: usize, before: Option<&AuditEntry>) -> Result<Vec<AuditEntry>, Error> {
        Ok(self.operations()?.audit(before.map(|entry| entry.seq), limit).await?)
    }
}
