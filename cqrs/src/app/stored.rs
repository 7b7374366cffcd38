//! What is stored, as operations look at it: counts, timers, dead letters.

use super::App;
use crate::Error;
use crate::message::Command;
use crate::store::{Counts, DeadLetter, DeadLetterId, StoreError, StoreErrorKind, TimerRecord};

impl App {
    fn need_store(&self) -> Result<&std::sync::Arc<dyn crate::store::driver::Driver>, StoreError> {
        self.store().ok_or_else(|| {
            let what = "the app has no store; give the builder one: `.store(Store::url(\"sqlite://app.db\"))`";
            StoreError::new(StoreErrorKind::Configuration, what)
        })
    }

    /// How much of everything the store holds.
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

    /// Makes a dead letter due again, its attempts forgotten. `false` where there is none of this name.
    ///
    /// # Errors
    /// Fails when the app has no store, or with what the store said.
    pub async fn replay(&self, id: DeadLetterId) -> Result<bool, Error> {
        let replayed = self.need_store()?.replay(id, self.clock().now()).await?;
        if replayed {
            tracing::info!(?id, "a dead letter is replayed");
            self.wake();
        }
        Ok(replayed)
    }

    /// Deletes a dead letter; the later messages of its key go on. `false` where there is none of this name.
    ///
    /// # Errors
    /// Fails when the app has no store, or with what the store said.
    pub async fn discard(&self, id: DeadLetterId) -> Result<bool, Error> {
        let discarded = self.need_store()?.discard(id).await?;
        if discarded {
            tracing::info!(?id, "a dead letter is discarded");
            self.wake();
        }
        Ok(discarded)
    }

    /// The timers that wait, soonest first, at most `limit`.
    ///
    /// # Errors
    /// Fails when the app has no store, or with what the store said.
    pub async fn timers(&self, limit: usize) -> Result<Vec<TimerRecord>, Error> {
        Ok(self.need_store()?.timers(limit).await?)
    }

    /// Cancels the timer of a command by its key. `false` where none waits.
    ///
    /// # Errors
    /// Fails when the app has no store, or with what the store said.
    pub async fn cancel_timer<C: Command>(&self, key: &str) -> Result<bool, Error> {
        Ok(self.need_store()?.cancel_timer(C::SPEC.name, key).await?)
    }
}
