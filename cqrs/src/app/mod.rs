//! The app: what a builder becomes once it is awaited. Cheap to clone; everything is reached through it.

mod builder;
mod bulk;
mod calls;
mod edit;
mod life;
mod operator;
mod options;
mod outbox;
mod outside;
mod recorder;
mod stored;

use std::fmt;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::builder::Builder;
pub use self::bulk::{Bulk, BulkReport};
pub use self::edit::EditError;
pub use self::life::Health;
pub(crate) use self::life::{Connecting, Running};
pub use self::operator::Operator;
pub(crate) use self::options::{Options, SHORTEST};
pub use self::outbox::Outbox;
pub use self::outside::OutsideUnit;
pub(crate) use self::recorder::Recorder;
use crate::clock::Clock;
use crate::event::{EventError, Node};
use crate::inject::Resolved;
use crate::message::MessageKind;
use crate::notices::Announcer;
use crate::saga::{Bells, Limits, Together};
use crate::wiring::{Plan, Planned};
use crate::{broker, store};

/// A running service: sends commands, asks queries, publishes events, and runs what is stored.
///
/// Made by awaiting a [`Builder`]. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Inner>);

pub(crate) struct Inner {
    plan: Plan,
    options: Options,
    store: Option<Arc<dyn store::driver::Driver>>,
    broker: Option<Arc<dyn broker::driver::Driver>>,
    /// Whether somebody outside this app may hold the broker too.
    shares_broker: bool,
    clock: Arc<Clock>,
    recorder: Recorder,
    /// Work that goes on though nobody awaits it any more.
    tracker: TaskTracker,
    /// Told once: stop taking on work.
    stopping: CancellationToken,
    /// Rung after every commit that stored something.
    wake: Arc<Notify>,
    /// Rung when something has become of a saga in this process.
    sagas: Bells,
    saga_limits: Limits,
    saga_changes: Together,
    /// Tells other processes, where they are to be told.
    announcer: Option<Arc<Announcer>>,
    /// Unique per start: owns claims.
    owner: String,
    life: life::Life,
}

impl App {
    #[inline]
    pub(crate) fn plan(&self) -> &Plan {
        &self.0.plan
    }

    #[inline]
    pub(crate) fn planned(&self, handler: u32) -> &Planned {
        &self.0.plan.handlers[handler as usize]
    }

    #[inline]
    pub(crate) fn slots(&self, handler: u32) -> &[Resolved] {
        &self.planned(handler).fixed
    }

    pub(crate) fn options(&self) -> &Options {
        &self.0.options
    }

    pub(crate) fn store(&self) -> Option<&Arc<dyn store::driver::Driver>> {
        self.0.store.as_ref()
    }

    pub(crate) fn broker(&self) -> Option<&Arc<dyn broker::driver::Driver>> {
        self.0.broker.as_ref()
    }

    pub(crate) fn clock(&self) -> &Arc<Clock> {
        &self.0.clock
    }

    #[cfg(feature = "testing")]
    pub(crate) fn recorder(&self) -> &Recorder {
        &self.0.recorder
    }

    pub(crate) fn tracker(&self) -> &TaskTracker {
        &self.0.tracker
    }

    pub(crate) fn owner(&self) -> &str {
        &self.0.owner
    }

    pub(crate) fn wake_bell(&self) -> &Arc<Notify> {
        &self.0.wake
    }

    pub(crate) fn saga_bells(&self) -> &Bells {
        &self.0.sagas
    }

    pub(crate) fn saga_limits(&self) -> &Limits {
        &self.0.saga_limits
    }

    pub(crate) fn saga_changes(&self) -> &Together {
        &self.0.saga_changes
    }

    /// Whether this process takes up sagas that nobody holds.
    pub(crate) fn runs_sagas(&self) -> bool {
        self.options().runs("sagas") && self.0.life.has_run()
    }

    /// What was raised in a unit of work counts from here on. `stored`: some of it was stored with the unit.
    pub(crate) fn note_raised(&self, nodes: &[Node], stored: bool) {
        self.0.recorder.note(nodes);
        if tracing::enabled!(tracing::Level::DEBUG) {
            self.note_unhandled(nodes);
        }
        if stored {
            self.note_unpublished(nodes);
            self.wake();
        }
    }

    /// A domain event that nobody handles is no mistake, but worth a word to who wonders why nothing happens.
    #[cold]
    fn note_unhandled(&self, nodes: &[Node]) {
        let is_domain = |node: &&Node| node.spec().kind == MessageKind::DomainEvent;
        for node in nodes.iter().filter(is_domain).filter(|node| !self.plan().is_handled(node)) {
            tracing::debug!(event = node.spec().name, "no handler of this program takes the event");
        }
    }

    /// Tells the relay and the workers that something was stored.
    pub(crate) fn wake(&self) {
        self.0.life.note_stored();
        self.0.wake.notify_waiters();
        if let Some(announcer) = &self.0.announcer {
            announcer.note_stored(&self.0.tracker);
        }
    }

    pub(crate) fn note_event_error(&self, error: &EventError) {
        self.0.life.count_event_error();
        if let Some(listener) = &self.0.options.on_event_error {
            listener(error);
        }
    }
}

impl Drop for Inner {
    /// Closes the store with the last clone of the app, and not when the app is told to stop: calls that need no unit of
    /// work are not counted, but each holds a clone, and what it leaves is stored.
    fn drop(&mut self) {
        if let (Some(store), Ok(runtime)) = (self.store.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move { store.close().await });
        }
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App")
            .field("handlers", &self.0.plan.handlers.len())
            .field("store", &self.0.store.as_ref().map(|store| store.name()))
            .field("broker", &self.0.broker.as_ref().map(|broker| broker.name()))
            .finish_non_exhaustive()
    }
}
