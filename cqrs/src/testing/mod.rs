//! The test kit: an app in a temporary place, with events remembered and time that can be moved.

pub mod conformance;

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

#[doc(inline)]
pub use crate::{broker_conformance, store_conformance};

use crate::app::Recorder;
use crate::broker::Broker;
use crate::message::Event;
use crate::store::{SagaNames, Store, StoreOptions};
use crate::{App, Builder, Error};

/// How long [`TestApp::settle`] waits for what never ends.
const SETTLE: Duration = Duration::from_mins(1);

/// An app for tests: a fresh store in a temporary directory, the memory broker, events remembered, time that can be
/// moved. Derefs to [`App`].
///
/// Everything that `app.run()` runs is running from the start, so what is stored moves; [`settle`](Self::settle) waits
/// until nothing stored is due.
///
/// ```standalone_crate
/// use cqrs::prelude::*;
/// use cqrs::testing::TestApp;
///
/// #[derive(Command)]
/// struct Greet;
///
/// #[derive(DomainEvent)]
/// struct Greeted;
///
/// #[command_handler]
/// async fn greet(_cmd: Greet, events: &mut Events) {
///     events.raise(Greeted);
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), cqrs::Error> {
/// let app = TestApp::new(cqrs::bootstrap!()).await?;
/// app.send(Greet).await?;
/// assert_eq!(app.events::<Greeted>().len(), 1);
/// # Ok(())
/// # }
/// ```
pub struct TestApp {
    app: App,
    /// What a store on a server is removed with.
    #[expect(dead_code, reason = "held for its drop")]
    place: Option<Box<dyn std::any::Any + Send + Sync>>,
    /// Removed when the test app is dropped, after the app has let go of it.
    directory: TempDir,
}

impl TestApp {
    /// Starts an app in a temporary place: an SQLite store becomes a fresh file, a PostgreSQL store a schema of its own in the
    /// database it names, a MySQL or MariaDB store a database of its own on its server; what is on a server is dropped with the
    /// test app. A store in memory stays one, with nothing in it. The broker becomes the memory broker.
    ///
    /// # Errors
    /// Fails as awaiting the builder does, and where the server of a store cannot be reached.
    pub async fn new(builder: Builder) -> Result<Self, Error> {
        let directory = tempfile::Builder::new().prefix("cqrs-test-").tempdir()?;
        let file = directory.path().join("test.db");
        let (builder, place) = builder.for_tests(&format!("sqlite://{}", file.display())).await?;
        let app = builder.await?;
        app.start_parts().await?;
        Ok(Self { app, place, directory })
    }

    /// The events of a type that committed units raised so far, in order.
    pub fn events<E: Event>(&self) -> Vec<Arc<E>> {
        self.app.recorder().events()
    }

    /// Waits until nothing stored is due: outbox empty, stored work done, dead or due later, and what follows the
    /// commits of stored work has ended.
    ///
    /// # Panics
    /// Panics when something is still due after a minute, saying what the store holds.
    pub async fn settle(&self) {
        let settled = tokio::time::timeout(SETTLE, async {
            while self.is_busy().await {
                self.app.wake_bell().notify_waiters();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        if settled.await.is_err() {
            let counts = self.app.counts().await;
            #[expect(clippy::panic, reason = "a test that never settles has failed")]
            {
                panic!("something stored is still due after {SETTLE:?}: {counts:?}");
            }
        }
    }

    /// Looked at twice: work may go from due to claimed to done between two looks, and leave new work behind.
    async fn is_busy(&self) -> bool {
        self.looks_busy().await || self.looks_busy().await
    }

    async fn looks_busy(&self) -> bool {
        let Some(store) = self.app.store() else { return false };
        let queues = crate::worker::queues_here(&self.app);
        let is_due = async || match (store.next_outbox_due().await, store.next_work_due(&queues).await) {
            (Ok(outbox), Ok(work)) => outbox.into_iter().chain(work).any(|due| due <= self.app.clock().now()),
            _ => true,
        };
        let has_saga_due = async || match store.sagas().filter(|_| !self.app.plan().sagas.is_empty()) {
            Some(sagas) => {
                let now = self.app.clock().now();
                // What was kept for sagas makes them due once somebody is told.
                let told = sagas.tell(now).await.is_ok();
                !told || sagas.next_due(SagaNames::ALL).await.map_or(true, |due| due.is_some_and(|due| due <= now))
            }
            None => false,
        };
        let is_claimed = async || !store.counts().await.is_ok_and(|counts| counts.claimed == 0);
        is_due().await || is_claimed().await || is_due().await || has_saga_due().await || !self.app.tracker().is_empty()
    }

    /// Moves the app's clock forward: what falls due meanwhile is due now.
    pub async fn advance(&self, by: Duration) {
        self.app.clock().advance(by);
        self.app.wake_bell().notify_waiters();
        tokio::task::yield_now().await;
    }

    /// The directory the store's file is in; removed when the test app is dropped.
    pub fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }

    /// Stops the app as SIGTERM does, and waits for it.
    pub async fn stop(self) {
        self.app.shutdown().await;
    }
}

impl Deref for TestApp {
    type Target = App;

    fn deref(&self) -> &App {
        &self.app
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        self.app.cancel();
    }
}

impl fmt::Debug for TestApp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestApp").field("app", &self.app).finish_non_exhaustive()
    }
}

impl Builder {
    /// The same app in a temporary place, and what removes that.
    async fn for_tests(mut self, url: &str) -> Result<(Self, Option<Box<dyn std::any::Any + Send + Sync>>), Error> {
        self.recorder = Recorder::on();
        let mut removed = None;
        let (store, broker) = self.places();
        if let Some(old) = store.take_if(|store| !store.is_kept_in_tests()) {
            let moved = if let Some((moved, place)) = old.apart().await? {
                removed = Some(place);
                let options = StoreOptions { prefix: old.options.prefix, ..StoreOptions::default() };
                Store { options, migrator: old.migrator, ..moved }
            } else {
                let options = StoreOptions { synchronous_off: true, ..StoreOptions::default() };
                Store { options, migrator: old.migrator, ..Store::url(url) }
            };
            *store = Some(moved);
        }
        if broker.take_if(|broker| !broker.is_driver()).is_some() {
            *broker = Some(Broker::url("memory:"));
        }
        Ok((self, removed))
    }
}
