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
use crate::store::{Store, StoreOptions};
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
    /// Removed when the test app is dropped, after the app has let go of it.
    directory: TempDir,
}

impl TestApp {
    /// Starts an app in a temporary place: an SQLite store becomes a fresh file, the broker the memory broker. A store in
    /// memory stays one, with nothing in it.
    ///
    /// # Errors
    /// Fails as awaiting the builder does.
    pub async fn new(builder: Builder) -> Result<Self, Error> {
        let directory = tempfile::Builder::new().prefix("cqrs-test-").tempdir()?;
        let file = directory.path().join("test.db");
        let app = builder.for_tests(&format!("sqlite://{}", file.display())).await?;
        app.start_parts().await?;
        Ok(Self { app, directory })
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
        let is_claimed = async || !store.counts().await.is_ok_and(|counts| counts.claimed == 0);
        is_due().await || is_claimed().await || is_due().await || !self.app.tracker().is_empty()
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
    /// The same app in a temporary place.
    fn for_tests(mut self, url: &str) -> Self {
        self.recorder = Recorder::on();
        let (store, broker) = self.places();
        if let Some(old) = store.take_if(|store| !store.is_kept_in_tests()) {
            let options = StoreOptions { synchronous_off: true, ..StoreOptions::default() };
            *store = Some(Store { options, migrator: old.migrator, ..Store::url(url) });
        }
        if broker.take_if(|broker| !broker.is_driver()).is_some() {
            *broker = Some(Broker::url("memory:"));
        }
        self
    }
}
