//! The hold that a process has on a saga, and for how long it can be sure of it without asking.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::outage::answered;
use crate::app::App;
use crate::error::chain;
use crate::lease;
use crate::store::driver::Driver;
use crate::store::{SagaClaim, StoreError};

/// A lease on a saga.
pub(super) struct Hold<'a> {
    app: &'a App,
    store: &'a dyn Driver,
    claim: SagaClaim,
    /// When the lease was last asked for that was given.
    since: Mutex<Instant>,
    /// Whether the saga is being let go: then nobody holds it, though nobody has taken it over.
    is_let_go: AtomicBool,
}

impl<'a> Hold<'a> {
    pub(super) fn new(app: &'a App, store: &'a dyn Driver, claim: SagaClaim, since: Instant) -> Self {
        Self { app, store, claim, since: Mutex::new(since), is_let_go: AtomicBool::new(false) }
    }

    /// From here on what is stored says whether it was lost, and no renewal does.
    pub(super) fn let_go(&self) {
        self.is_let_go.store(true, Ordering::Relaxed);
    }

    /// Renews the lease for as long as it is held. Ends where somebody else has it.
    pub(super) async fn keep(&self) {
        lease::keep(self.app.options().lease, "the hold on a saga", || self.renew()).await;
        if self.is_let_go.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    }

    /// Whether nobody else can have the saga. Asks where the lease may have run out: a process that was stopped, or had no time for
    /// this saga, does not know what others did meanwhile.
    pub(super) async fn is_held(&self) -> bool {
        if self.since().elapsed() < self.app.options().lease {
            return true;
        }
        answered(|| Box::pin(self.renew())).await.unwrap_or_else(|error| {
            tracing::error!(saga = self.claim.id, error = chain(&error), "nobody knows whether a saga is held");
            false
        })
    }

    async fn renew(&self) -> Result<bool, StoreError> {
        let Some(sagas) = self.store.sagas() else { return Ok(false) };
        let asked = Instant::now();
        let until = self.app.clock().lease_now() + self.app.options().lease;
        let is_held = !sagas.renew(vec![self.claim.clone()], until).await?.is_empty();
        if is_held {
            *self.since.lock().unwrap_or_else(PoisonError::into_inner) = asked;
        }
        Ok(is_held)
    }

    fn since(&self) -> Instant {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
