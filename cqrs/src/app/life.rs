//! The life of an app: running what is stored, stopping, and how it feels.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::App;
use crate::Error;
use crate::broker::driver::Driver;
use crate::broker::{BrokerError, BrokerErrorKind};
use crate::error::chain;
use crate::event::Node;
use crate::message::{MessageKind, MessageSpec};
use crate::middleware::CallKind;
use crate::supervise::supervised;
use crate::{consumer, notices, relay, saga, store, worker};

/// How long what was given up may take to be dropped.
const DROPPING: Duration = Duration::from_secs(1);

/// How an app feels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Health {
    /// It takes calls, but `run` was not called: what is stored does not move in this process.
    Idle,
    /// It takes calls and runs what is stored, as far as it was told to: with an empty list of parts nothing.
    Running,
    /// It runs, but for a group that cannot subscribe: the broker could not be reached, and is tried again.
    Connecting,
    /// It was told to stop, and ends what it has begun.
    Stopping,
    /// It has stopped.
    Stopped,
}

/// What `run` runs.
#[derive(Debug, Clone, Default)]
struct Parts {
    consumers: TaskTracker,
    others: TaskTracker,
}

/// Held while a group cannot subscribe.
pub(crate) struct Connecting(App);

impl Drop for Connecting {
    fn drop(&mut self) {
        self.0.0.life.connecting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Held while a handler runs, so that it can be named where stopping takes too long.
pub(crate) struct Running {
    app: App,
    handler: u32,
}

impl Running {
    fn count(&self) -> Option<&AtomicUsize> {
        self.app.0.life.running.get(self.handler as usize)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(count) = self.count() {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// What is remembered about an app's life.
#[derive(Debug, Default)]
pub(crate) struct Life {
    parts: Parts,
    /// Calls with a unit of work that are under way.
    calls: TaskTracker,
    /// Told once, where stopping takes too long: drop what is unfinished.
    give_up: CancellationToken,
    ran: AtomicBool,
    warned: AtomicBool,
    /// The first notification event that was stored where this process is to publish it and has no broker.
    unpublished: OnceLock<&'static MessageSpec>,
    warned_unpublished: AtomicBool,
    /// The groups of which was said that this process does not try again what it keeps for them.
    warned_kept: Mutex<BTreeSet<String>>,
    stopped: AtomicBool,
    /// How many groups wait for their broker.
    connecting: AtomicUsize,
    event_errors: AtomicU64,
    skipped: AtomicU64,
    /// How often each handler runs right now, by its number: those that can be named without slowing down all others.
    running: Box<[AtomicUsize]>,
}

impl Life {
    pub(crate) fn new(handlers: usize) -> Self {
        Self { running: (0..handlers).map(|_| AtomicUsize::new(0)).collect(), ..Self::default() }
    }

    /// Whether what is stored runs in this process.
    pub(crate) fn has_run(&self) -> bool {
        self.ran.load(Ordering::Relaxed)
    }

    /// Warns once where something is stored in a process that never ran anything.
    pub(crate) fn note_stored(&self) {
        if !self.ran.load(Ordering::Relaxed) && !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "something was stored, but this process does not run it: call `app.run()` here or in another process"
            );
        }
    }

    /// Warns once, and only of a process that runs what is stored: of one that never does, [`note_stored`](Self::note_stored)
    /// has warned already.
    fn warn_unpublished(&self) {
        let Some(spec) = self.unpublished.get().filter(|_| self.ran.load(Ordering::Relaxed)) else { return };
        if !self.warned_unpublished.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                event = spec.name,
                declared = %spec.location,
                "a notification event was stored, but the app has no broker: its row stays in the outbox, as will all later ones; help: give the builder one, `.broker(Broker::url(..))`, or say that somebody else publishes: `relay = \"off\"` in the settings, or a list `run` without `relay`"
            );
        }
    }

    pub(crate) fn count_event_error(&self) {
        self.event_errors.fetch_add(1, Ordering::Relaxed);
    }
}

impl App {
    /// Runs relay, workers, timers and consumers until SIGTERM or ctrl-c, then stops within `shutdown_timeout`.
    ///
    /// # Errors
    /// Fails when the broker refuses a consumer's subscription. One that cannot be reached is tried again while the app runs.
    pub async fn run(&self) -> Result<(), Error> {
        self.run_until(signal()).await
    }

    /// Runs relay, workers, timers and consumers until a future ends or [`shutdown`](Self::shutdown) is called, then
    /// stops within `shutdown_timeout`.
    ///
    /// # Errors
    /// Fails when the broker refuses a consumer's subscription. One that cannot be reached is tried again while the app runs.
    pub async fn run_until(&self, until: impl Future<Output = ()>) -> Result<(), Error> {
        if let Err(error) = self.start_parts().await {
            // What has started already must not go on behind the error.
            self.shutdown().await;
            return Err(error);
        }
        tokio::select! {
            () = until => {}
            () = self.0.stopping.cancelled() => {}
        }
        self.shutdown().await;
        Ok(())
    }

    /// Starts everything `run` runs, for `run` and the test kit.
    pub(crate) async fn start_parts(&self) -> Result<(), Error> {
        self.check_reach()?;
        self.0.life.ran.store(true, Ordering::Relaxed);
        self.0.life.warn_unpublished();
        let parts = &self.0.life.parts;
        let stop = self.0.stopping.clone();
        // Consumers first: the memory broker confirms what nobody subscribed to.
        let turns = worker::Turns::of_groups(self);
        consumer::start(self, &turns, &parts.consumers, &stop).await?;
        let options = self.options();
        if let (Some(store), Some(broker)) = (self.store(), self.broker())
            && options.runs("relay")
            && !options.relay_off
        {
            let (app, store, broker, stop) = (self.clone(), store.clone(), broker.clone(), stop.clone());
            parts.others.spawn(async move {
                let relay = || app.relay(&store, &broker).run(stop.clone());
                supervised("the relay", &stop, relay).await;
            });
        }
        if let Some(notices) = self.store().and_then(|store| store.notices()) {
            let (app, stop) = (self.clone(), stop.clone());
            parts.others.spawn(async move {
                let listen = || notices::listen(&*notices, app.owner(), app.wake_bell(), &stop);
                supervised("listening for notices", &stop, listen).await;
            });
        }
        worker::start(self, &turns, &parts.others, &stop);
        saga::start(self, &parts.others, &stop);
        Ok(())
    }

    fn relay(&self, store: &Arc<dyn store::driver::Driver>, broker: &Arc<dyn Driver>) -> relay::Relay {
        let options = self.options();
        relay::Relay {
            store: Arc::clone(store),
            broker: Arc::clone(broker),
            clock: self.clock().clone(),
            owner: self.owner().to_owned(),
            wake: self.wake_bell().clone(),
            settings: relay::RelaySettings {
                keeps_for: Some(options.outbox_retention).filter(|keeps_for| !keeps_for.is_zero()),
                lease: options.lease,
                // A row holds the payload with what surrounds it on the wire.
                payload_limit: options.payload_limit.saturating_add(crate::wire::ENVELOPE),
                // Less than the whole, so that what it hands back is handed back in time.
                shutdown_timeout: options.shutdown_timeout.mul_f64(0.8),
                ..options.relay.clone()
            },
        }
    }

    /// Refuses to publish to a broker within this process what only another process would consume: it would be confirmed
    /// by nobody, and gone.
    fn check_reach(&self) -> Result<(), BrokerError> {
        let alone = |broker: &&Arc<dyn Driver>| !broker.crosses_processes() && !self.0.shares_broker;
        let Some(broker) = self.broker().filter(alone) else { return Ok(()) };
        let options = self.options();
        let elsewhere: Vec<String> = self
            .plan()
            .groups
            .keys()
            .filter(|group| !options.runs(&format!("group:{group}")))
            .map(|group| format!("`{group}`"))
            .collect();
        if elsewhere.is_empty() || !options.runs("relay") || options.relay_off {
            return Ok(());
        }
        let what = format!(
            "the broker `{}` reaches this process only, which is to run the relay but not the groups {}: what is theirs would be lost; help: run them here too, or give the app a broker that other processes reach",
            broker.name(),
            elsewhere.join(", ")
        );
        Err(BrokerError::new(BrokerErrorKind::Configuration, what))
    }

    /// Tells the app to stop, and waits for what it has begun: relay, workers and consumers, calls with a unit of work,
    /// and what goes on after a commit. A stream that nobody reads just now is not waited for: read again afterwards, it
    /// ends with [`ShuttingDown`](crate::DispatchError::ShuttingDown).
    ///
    /// Stored work and consumed messages that have not ended within `shutdown_timeout` are dropped and handed back. Calls
    /// cannot be: they go on, and a warning names their handlers.
    pub async fn shutdown(&self) {
        self.0.stopping.cancel();
        let timeout = self.options().shutdown_timeout;
        if tokio::time::timeout(timeout, self.ended()).await.is_err() {
            tracing::warn!(
                ?timeout,
                running = self.names_of_running(),
                calls = self.0.life.calls.len(),
                "stopping took too long: stored work and consumed messages that still run are dropped now and handed back, to be done again; calls and what follows their commits go on for as long as this process does, and what they have not committed by then is rolled back"
            );
            self.0.life.give_up.cancel();
            // Dropped work ends at its next poll: this waits for no more than that.
            let _ = tokio::time::timeout(DROPPING, self.0.life.parts.others.wait()).await;
        }
        self.close().await;
    }

    /// Waits until everything has ended that was begun before the app was told to stop.
    async fn ended(&self) {
        let Life { parts, calls, .. } = &self.0.life;
        for tracker in [&parts.consumers, &parts.others, calls, &self.0.tracker] {
            tracker.close();
        }
        parts.consumers.wait().await;
        // Nobody will confirm any more what the relay still publishes: it hands that back.
        if let Some(broker) = self.broker() {
            broker.close().await;
        }
        parts.others.wait().await;
        calls.wait().await;
        self.0.tracker.wait().await;
    }

    /// Tells the app to stop, without waiting.
    #[cfg(feature = "testing")]
    pub(crate) fn cancel(&self) {
        self.0.stopping.cancel();
    }

    async fn close(&self) {
        if let Some(store) = self.store()
            && let Err(error) = store.release(self.owner()).await
        {
            tracing::warn!(error = chain(&error), "claims could not be handed back; they run out by themselves");
        }
        if let Some(sagas) = self.store().and_then(|store| store.sagas())
            && !self.plan().sagas.is_empty()
            && let Err(error) = sagas.hand_back(self.owner(), self.clock().now()).await
        {
            tracing::warn!(error = chain(&error), "sagas could not be handed back; their leases run out by themselves");
        }
        self.0.life.stopped.store(true, Ordering::Release);
        if let Some(broker) = self.broker() {
            broker.close().await;
        }
        // The store stays open for calls that are still under way: they end, and what they leave is stored. It is closed
        // with the last clone of the app.
    }

    /// Notes that a unit of work stored something of what was raised in it: where this process publishes, and has no
    /// broker, notification events go nowhere.
    pub(super) fn note_unpublished(&self, nodes: &[Node]) {
        let options = self.options();
        if self.broker().is_some() || options.relay_off || !options.runs("relay") {
            return;
        }
        let mut specs = nodes.iter().map(Node::spec);
        if let Some(spec) = specs.find(|spec| spec.kind == MessageKind::NotificationEvent) {
            self.0.life.unpublished.get_or_init(|| spec);
            self.0.life.warn_unpublished();
        }
    }

    /// Notes that a message was stored for a group, to be handled later: where this process does not do that, it says so once.
    pub(crate) fn note_kept(&self, group: &str) {
        if self.options().runs(&format!("retries:{group}")) {
            return;
        }
        let mut warned = self.0.life.warned_kept.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.insert(group.to_owned()) {
            tracing::warn!(
                group,
                "a message was handed in and stored to be tried again, which this process does not do: it waits, and holds back the later ones of its key; help: name `retries:{group}` in the list `run` here or in another process"
            );
        }
    }

    /// Held by a call with a unit of work while it is under way: stopping waits for it.
    pub(crate) fn calling(&self) -> TaskTrackerToken {
        self.0.life.calls.token()
    }

    /// Counts a group among those that wait for their broker.
    pub(crate) fn connecting(&self) -> Connecting {
        self.0.life.connecting.fetch_add(1, Ordering::Relaxed);
        Connecting(self.clone())
    }

    /// Counts a handler among those that run.
    pub(crate) fn running(&self, handler: u32) -> Running {
        let running = Running { app: self.clone(), handler };
        if let Some(count) = running.count() {
            count.fetch_add(1, Ordering::Relaxed);
        }
        running
    }

    /// The handlers that run, by kind and name, each with how often it does.
    fn names_of_running(&self) -> String {
        let counts = self.0.life.running.iter().map(|count| count.load(Ordering::Relaxed));
        let counted = self.plan().handlers.iter().zip(counts).filter(|(_, count)| *count > 0);
        let named = counted.map(|(planned, count)| {
            format!("{} handler `{}` ({count})", CallKind::of(planned.item.message), planned.item.name)
        });
        named.collect::<Vec<_>>().join(", ")
    }

    /// Cancelled where stopping takes too long: what is unfinished is dropped.
    pub(crate) fn give_up(&self) -> &CancellationToken {
        &self.0.life.give_up
    }

    /// Ends when the app is told to stop: for axum's graceful shutdown.
    pub fn stopping(&self) -> impl Future<Output = ()> + Send + 'static {
        let stopping: CancellationToken = self.0.stopping.clone();
        async move { stopping.cancelled().await }
    }

    /// How the app feels.
    pub fn health(&self) -> Health {
        if self.is_stopped() {
            Health::Stopped
        } else if self.0.stopping.is_cancelled() {
            Health::Stopping
        } else if self.0.life.connecting.load(Ordering::Relaxed) > 0 {
            Health::Connecting
        } else if self.0.life.ran.load(Ordering::Relaxed) {
            Health::Running
        } else {
            Health::Idle
        }
    }

    /// How many plain event handlers have failed since the start.
    pub fn event_error_count(&self) -> u64 {
        self.0.life.event_errors.load(Ordering::Relaxed)
    }

    /// How many consumed messages were skipped since the start because no handler of their group takes their name.
    pub fn skipped_count(&self) -> u64 {
        self.0.life.skipped.load(Ordering::Relaxed)
    }

    pub(crate) fn count_skipped(&self) {
        self.0.life.skipped.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether the app was told to stop.
    pub(crate) fn is_stopping(&self) -> bool {
        self.0.stopping.is_cancelled()
    }

    #[inline]
    pub(crate) fn is_stopped(&self) -> bool {
        self.0.life.stopped.load(Ordering::Acquire)
    }
}

#[cfg(unix)]
async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let interrupt = tokio::signal::ctrl_c();
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = interrupt => {}
                _ = terminate.recv() => {}
            }
        }
        Err(error) => {
            tracing::warn!(%error, "SIGTERM cannot be listened to; ctrl-c still stops the app");
            let _ = interrupt.await;
        }
    }
}

#[cfg(not(unix))]
async fn signal() {
    let _ = tokio::signal::ctrl_c().await;
}
