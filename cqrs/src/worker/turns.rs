//! How much is handled at once of what shares a limit: of a group's messages, whether they come from the broker or have been
//! stored.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::app::App;

/// The turns of what shares a limit. Who handles a message of a group waits for one, first come first served, so that neither
/// what is new nor what is tried again starves.
#[derive(Debug, Clone)]
pub(crate) struct Turns {
    /// How many there are.
    pub(crate) most: usize,
    free: Arc<Semaphore>,
}

impl Turns {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, free: Arc::new(Semaphore::new(most)) }
    }

    /// The turns of every group of an app, by its name.
    pub(crate) fn of_groups(app: &App) -> BTreeMap<&'static str, Self> {
        let groups = app.plan().groups.iter();
        groups
            .map(|(name, group)| {
                let said = group.handlers.values().flatten().map(|(_, options)| *options);
                (*name, Self::new(app.options().group_concurrency(name, said)))
            })
            .collect()
    }

    /// How many are free right now.
    pub(crate) fn free(&self) -> usize {
        self.free.available_permits()
    }

    /// Whether there is a free one right now.
    pub(super) fn are_free(&self) -> bool {
        self.free.available_permits() > 0
    }

    /// Takes all that are free right now; while somebody waits for one there are none.
    pub(super) fn take_free(&self) -> impl Iterator<Item = OwnedSemaphorePermit> {
        std::iter::from_fn(|| Arc::clone(&self.free).try_acquire_owned().ok())
    }

    /// Waits for a turn, which lasts until what is given is dropped.
    pub(crate) async fn wait(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.free).acquire_owned().await.ok()
    }
}
