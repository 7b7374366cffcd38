//! The builder: inert until it is awaited. It does no I/O and cannot fail before.

use std::any::TypeId;
use std::collections::BTreeSet;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::{App, Inner, Options, Recorder, SHORTEST};
use crate::breaker::Breakers;
use crate::broker::{Broker, BrokerWords};
use crate::clock::Clock;
use crate::event::{EventError, EventErrors};
use crate::inject::Inject;
use crate::message::{Message, SourceLocation, WireFormat};
use crate::notices::Announcer;
use crate::registry::{EventMode, HandlerItem, HandlerKind};
use crate::saga::{Bells, Limits, Together};
use crate::settings::Settings;
use crate::settings::nearest::nearest;
use crate::store::{Store, StoreOptions};
use crate::wire::Compression;
use crate::wiring::{Draft, Problem, ProblemKind, Supply, SupplyKind, WiringError, wire};
use crate::{BoxError, Error};

/// Collects what the handlers linked into this program need; awaited, it checks everything, connects and starts.
///
/// Made by [`bootstrap!`](crate::bootstrap). Inert: no I/O happens and nothing can fail before it is awaited, so the
/// function that builds it serves `main` and tests alike.
#[must_use = "a builder does nothing until it is awaited"]
pub struct Builder {
    draft: Draft,
    pub(crate) store: Option<Store>,
    pub(crate) broker: Option<Broker>,
    /// What settings said beside the URLs: it holds for a store and a broker that are named after them, too.
    store_words: StoreOptions,
    broker_words: BrokerWords,
    breakers: Breakers,
    pub(crate) options: Options,
    pub(crate) recorder: Recorder,
    pub(crate) clock: Arc<Clock>,
}

impl Builder {
    /// Everything linked into this program; `crates` are those that are linked for their handlers only.
    #[doc(hidden)]
    pub fn linked(crates: &[&'static str]) -> Self {
        let draft = Draft::linked();
        for name in crates.iter().filter(|name| !draft.knows(name)) {
            tracing::warn!(
                "the crate `{name}` is named in `bootstrap!`, but registers nothing: no handler, provider, middleware or message of it is linked"
            );
        }
        Self {
            draft,
            store: None,
            broker: None,
            store_words: StoreOptions::default(),
            broker_words: BrokerWords::default(),
            breakers: Breakers::default(),
            options: Options::default(),
            recorder: Recorder::default(),
            clock: Arc::default(),
        }
    }

    /// The same program as it was before a version of a saga was written.
    #[cfg(feature = "__fail-points")]
    #[doc(hidden)]
    pub fn before_saga(mut self, name: &str, version: u32) -> Self {
        self.draft.sagas.retain(|saga| (saga.context.name, saga.context.version) != (name, version));
        self
    }

    /// The store: connected when the builder is awaited.
    pub fn store(mut self, mut store: Store) -> Self {
        store.options = store.options.or(&self.store_words);
        self.store = Some(store);
        self
    }

    /// The broker: connected when the builder is awaited.
    pub fn broker(mut self, mut broker: Broker) -> Self {
        broker.underlay(&self.broker_words);
        self.broker = Some(broker);
        self
    }

    /// Where the state of circuit breakers is kept: in the process unless said otherwise.
    pub fn breakers(mut self, breakers: Breakers) -> Self {
        self.breakers = breakers;
        self
    }

    /// Provides a value as `Inject<T>`.
    #[track_caller]
    pub fn provide<T: Send + Sync + 'static>(self, value: T) -> Self {
        self.provide_arc::<T>(Arc::new(value))
    }

    /// Provides a shared value as `Inject<T>`, where `T` may be a trait object.
    #[track_caller]
    pub fn provide_arc<T: ?Sized + Send + Sync + 'static>(self, value: Arc<T>) -> Self {
        self.supply::<T>(SupplyKind::Value(Inject::from(value).resolved()))
    }

    /// Says that `Inject<T>` is supplied later: it counts as provided in checks, and must have been by the start.
    #[track_caller]
    pub fn expects<T: ?Sized + Send + Sync + 'static>(self) -> Self {
        self.supply::<T>(SupplyKind::Expected)
    }

    /// Puts a value in the place of whatever else provides `T`: for tests.
    #[track_caller]
    pub fn override_arc<T: ?Sized + Send + Sync + 'static>(self, value: Arc<T>) -> Self {
        self.supply::<T>(SupplyKind::Override(Inject::from(value).resolved()))
    }

    /// Says that a message is handled in another service.
    pub fn elsewhere<M: Message>(mut self) -> Self {
        self.draft.elsewhere.insert(M::SPEC.type_id);
        self
    }

    /// How many plain event handlers of one call run at once: 1 unless said otherwise.
    pub fn event_concurrency(mut self, most: usize) -> Self {
        self.options.event_concurrency = most.max(1);
        self.options.stream_event_concurrency = most.max(1);
        self
    }

    /// How deep follow-up events may go: 64 unless said otherwise.
    pub fn event_depth(mut self, most: u32) -> Self {
        self.options.event_depth = most;
        self
    }

    /// What becomes of a call when a plain handler of one of its events fails.
    pub fn event_errors(mut self, errors: EventErrors) -> Self {
        self.options.event_errors = errors;
        self
    }

    /// Listens to failures of plain event handlers. A listener that panics is logged, and changes nothing else.
    pub fn on_event_error(mut self, listener: impl Fn(&EventError) + Send + Sync + 'static) -> Self {
        self.options.on_event_error = Some(Arc::new(listener));
        self
    }

    /// How long stopping may take: 30 s unless said otherwise.
    pub fn shutdown_timeout(mut self, most: Duration) -> Self {
        self.options.shutdown_timeout = most;
        self
    }

    /// How large a message may be as JSON, in bytes, stored or consumed: 1 MiB unless said otherwise. What surrounds it on
    /// the wire does not count.
    pub fn payload_limit(mut self, most: usize) -> Self {
        self.options.payload_limit = most;
        self
    }

    /// How notification events are written that do not say so themselves (`#[event(codec = "..")]`): as JSON in an envelope
    /// unless said otherwise. Protocol Buffers are said by the event alone.
    pub fn codec(mut self, format: WireFormat) -> Self {
        self.options.wire.format = format;
        self
    }

    /// How the bodies of notification events are compressed: not at all unless said otherwise.
    pub fn compression(mut self, how: Compression) -> Self {
        self.options.wire.compression = how;
        self
    }

    /// Who writes the events of this app, a URI: the `source` of its CloudEvents. `/cqrs` unless said otherwise.
    pub fn event_source(mut self, source: impl Into<String>) -> Self {
        self.options.wire.source = Some(source.into());
        self
    }

    /// How long a claim of stored work holds unless it is renewed: 5 s unless said otherwise.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.options.lease = lease;
        self
    }

    /// How long one attempt of stored work may take: 60 s unless said otherwise.
    pub fn deadline(mut self, most: Duration) -> Self {
        self.options.deadline = most;
        self
    }

    /// How many messages of a group, or batches of them, and how many durable handlers run at once: 8 unless said otherwise. At least one.
    pub fn concurrency(mut self, most: usize) -> Self {
        self.options.concurrency = most.max(1);
        self
    }

    /// How long it is remembered what was handled, so that it is not handled again: 7 days unless said otherwise.
    pub fn inbox_window(mut self, window: Duration) -> Self {
        self.options.inbox_window = window;
        self
    }

    /// How long the response to a call with an [idempotency key](crate::Sending::idempotency_key) is kept: 24 h unless said
    /// otherwise.
    pub fn idempotency_retention(mut self, retention: Duration) -> Self {
        self.options.idempotency_retention = retention;
        self
    }

    /// How long an event is kept after it was published, in the store's table `cqrs_published`: not at all unless said otherwise.
    pub fn outbox_retention(mut self, retention: Duration) -> Self {
        self.options.outbox_retention = retention;
        self
    }

    /// How long it is remembered what was done to dead letters, the outbox and timers: 90 days unless said otherwise.
    pub fn audit_retention(mut self, retention: Duration) -> Self {
        self.options.audit_retention = retention;
        self
    }

    /// How long a saga is kept after it has ended, with its log and under its id: 30 days unless said otherwise. One that is stuck has
    /// not ended.
    pub fn saga_retention(mut self, retention: Duration) -> Self {
        self.options.saga_retention = retention;
        self
    }

    /// How long an event is kept for the sagas that wait for it, or will: 7 days unless said otherwise.
    pub fn awaited_retention(mut self, retention: Duration) -> Self {
        self.options.awaited_retention = retention;
        self
    }

    /// Which parts [`App::run`] runs: `relay`, `work`, `timers`, `sagas`, `group:billing`, `retries:billing`. All unless said
    /// otherwise; none of them with an empty list. A part that there is not is a wiring error.
    ///
    /// `group:billing` consumes for a group and tries again what failed there. `retries:billing` only tries again: for a consumer
    /// of your own, which hands in messages by [`App::receive`].
    pub fn run<S: Into<String>>(mut self, parts: impl IntoIterator<Item = S>) -> Self {
        self.options.run = Some(parts.into_iter().map(Into::into).collect());
        self
    }

    /// Puts a `tower` layer among the middleware: see [`tower::around`](crate::tower::around).
    #[cfg(feature = "tower")]
    pub fn layer(mut self, layer: crate::tower::Layered) -> Self {
        self.draft.layers.push(layer);
        self
    }

    /// Takes over what settings say; what was said before about the same things gives way.
    ///
    /// A URL in settings says where the store or the broker is, and what else the code said of it stays: migrations, names,
    /// whether topics are made. What settings say beside a URL holds for a store and a broker named later, too, unless those
    /// say it themselves.
    pub fn settings(mut self, settings: Settings) -> Self {
        settings.apply(&mut self);
        self
    }

    /// Takes a store and a broker where settings name them.
    pub(crate) fn place(&mut self, store: Option<Store>, broker: Option<Broker>) {
        if let Some(mut store) = store {
            // Settings say where, not with what: migrations and names that the code says stay.
            if let Some(old) = self.store.take() {
                (store.migrator, store.options) = (old.migrator, old.options);
            }
            self.store = Some(store);
        }
        if let Some(broker) = broker {
            self.broker = Some(match self.broker.take() {
                Some(old) => broker.in_place_of(old),
                None => broker,
            });
        }
    }

    /// Takes what settings say beside the URLs.
    pub(crate) fn adjust(&mut self, store: StoreOptions, broker: BrokerWords) {
        self.store_words = store.clone().or(&self.store_words);
        self.broker_words = broker.clone().or(&self.broker_words);
        if let Some(place) = &mut self.store {
            place.options = store.or(&place.options).or(&self.store_words);
        }
        if let Some(place) = &mut self.broker {
            place.overlay(broker);
            place.underlay(&self.broker_words);
        }
    }

    /// Keeps only the middlewares whose function's name passes: lets one program measure several stacks.
    #[doc(hidden)]
    pub fn retain_middlewares(mut self, keep: impl Fn(&str) -> bool) -> Self {
        self.draft.middlewares.retain(|item| keep(item.name));
        self
    }

    /// The store and the broker, for the test kit to move.
    #[cfg(feature = "testing")]
    pub(crate) fn places(&mut self) -> (&mut Option<Store>, &mut Option<Broker>) {
        (&mut self.store, &mut self.broker)
    }

    #[track_caller]
    fn supply<T: ?Sized + Send + Sync + 'static>(mut self, kind: SupplyKind) -> Self {
        let location = Location::caller();
        let location = SourceLocation { module: "", file: location.file(), line: location.line() };
        self.draft.supplies.push(Supply { type_id: Inject::<T>::id(), name: Inject::<T>::name(), kind, location });
        self
    }

    /// What is registered, before anybody judged it.
    pub(crate) fn draft(&self) -> &Draft {
        &self.draft
    }

    /// What is judged: everything discovered, and what the store and the broker are known to give without connecting.
    fn drafted(&mut self) -> Draft {
        let mut draft = std::mem::take(&mut self.draft);
        draft.breaker = self.options.breaker;
        if let Some(store) = &self.store {
            draft.has_store = true;
            match store.handle() {
                Ok(handle) => draft.handle = handle,
                Err(error) => draft.problems.push(setting(&error)),
            }
            for (type_id, name) in store.gift_types() {
                draft.supplies.push(store_gift(type_id, name));
            }
        }
        draft.problems.extend(too_short(&self.options));
        draft.problems.extend(self.breakers.problems());
        draft.problems.extend(uncompressed(&self.options));
        #[cfg(feature = "tower")]
        draft.problems.extend(draft.layers.iter().filter_map(crate::tower::Layered::problem).collect::<Vec<_>>());
        if let Some(run) = self.options.run.as_deref() {
            draft.problems.extend(unknown_parts(run, &draft));
        }
        draft.problems.extend(unknown(self.options.groups.keys(), "group", &groups(&draft)));
        draft.problems.extend(unknown(self.options.sagas.keys(), "saga", &sagas(&draft)));
        if let Some(broker) = &self.broker {
            draft.has_broker = true;
            if let Err(error) = broker.check() {
                draft.problems.push(setting(&error));
            }
        }
        draft
    }

    /// Judges the wiring without connecting; what is expected counts as supplied. Runs no provider.
    ///
    /// # Errors
    /// Fails with every problem at once.
    pub fn check(mut self) -> Result<(), WiringError> {
        let mut draft = self.drafted();
        draft.expected_counts = true;
        wire(draft).map(|_| ())
    }

    async fn start(mut self) -> Result<App, Error> {
        let wired = wire(self.drafted());
        let store = match self.store {
            Some(store) => Some(store.connect().await),
            None => None,
        };
        // A store that cannot be opened is told together with what is wrong with the wiring.
        let (wired, store) = match (wired, store.transpose()) {
            (Ok(wired), store) => (wired, store?),
            (Err(wiring), Ok(_)) => return Err(wiring.into()),
            (Err(wiring), Err(error))
                if wiring.problems().iter().any(|problem| problem.kind == ProblemKind::Setting) =>
            {
                tracing::debug!(%error, "the store's URL is among the problems already");
                return Err(wiring.into());
            }
            (Err(wiring), Err(error)) => return Err(wiring.and(setting(&error)).into()),
        };
        if let Some(store) = &store {
            store.migrate().await?;
        }
        let shares_broker = self.broker.as_ref().is_some_and(Broker::is_driver);
        let broker = self.broker.map(Broker::connect).transpose()?;
        let gifts = store.as_ref().map(|store| store.gifts()).unwrap_or_default();
        let plan = wired
            .resolve(gifts, &self.clock, &self.breakers)
            .await
            .map_err(|error| Error::Other(BoxError::from(error)))?;
        let life = super::life::Life::new(plan.handlers.len());
        let said = |name: &str| self.options.sagas.get(name).copied().unwrap_or_default();
        let saga_limits = Limits::new(plan.sagas.limits().map(|(name, limits)| (name, said(name).or(limits))));
        let owner = Uuid::now_v7().to_string();
        let announcer = store.as_ref().and_then(|store| store.notices()).map(|notices| Announcer::new(notices, &owner));
        Ok(App(Arc::new(Inner {
            plan,
            options: self.options,
            store,
            broker,
            shares_broker,
            clock: self.clock,
            recorder: self.recorder,
            tracker: TaskTracker::new(),
            stopping: CancellationToken::new(),
            wake: Arc::new(Notify::new()),
            sagas: Bells::default(),
            saga_limits,
            saga_changes: Together::default(),
            announcer,
            owner,
            life,
        })))
    }
}

fn too_short(options: &Options) -> Vec<Problem> {
    let said = [
        ("lease", options.lease),
        ("deadline", options.deadline),
        ("idempotency_retention", options.idempotency_retention),
    ];
    said.into_iter()
        .filter(|(_, duration)| *duration < SHORTEST)
        .map(|(name, duration)| {
            let what = format!("`{name}` is {duration:?}");
            Problem::new(ProblemKind::Setting, what, format!("the shortest is {SHORTEST:?}"))
        })
        .collect()
}

/// A compression that this build has not: the events would go out as they are, in silence.
fn uncompressed(options: &Options) -> Option<Problem> {
    let how = options.wire.compression;
    (!how.is_available()).then(|| {
        let what = format!("`compression` is {how:?}, which this build has not");
        Problem::new(ProblemKind::Setting, what, "build with the feature `compression` of `cqrs`")
    })
}

/// Parts to run that there are not: nothing would run them, in silence.
fn unknown_parts(run: &[String], draft: &Draft) -> Vec<Problem> {
    let groups = groups(draft).into_iter();
    let groups = groups.flat_map(|group| [format!("group:{group}"), format!("retries:{group}")]);
    let known: BTreeSet<String> =
        ["relay", "work", "timers", "sagas"].into_iter().map(str::to_owned).chain(groups).collect();
    let unknown = run.iter().filter(|part| !known.contains(*part));
    let said = |part: &String| format!("`run` names the part `{part}`, which this app does not have");
    unknown.map(|part| Problem::new(ProblemKind::Setting, said(part), suggest(part, "parts", &known))).collect()
}

/// Groups or sagas that settings speak of and that there are not: what is said about them would be lost, in silence.
fn unknown<'a>(spoken_of: impl Iterator<Item = &'a String>, what: &str, known: &BTreeSet<String>) -> Vec<Problem> {
    let unknown = spoken_of.filter(|name| !known.contains(*name));
    let said = |name: &String| format!("the settings speak of the {what} `{name}`, which this app does not have");
    unknown
        .map(|name| Problem::new(ProblemKind::Setting, said(name), suggest(name, &format!("{what}s"), known)))
        .collect()
}

/// The stored names of the sagas.
fn sagas(draft: &Draft) -> BTreeSet<String> {
    draft.sagas.iter().map(|saga| saga.context.name.to_owned()).collect()
}

/// The consumer groups of the handlers.
fn groups(draft: &Draft) -> BTreeSet<String> {
    let group = |item: &&HandlerItem| match item.kind {
        HandlerKind::Event(EventMode::Group(options)) => Some(options.group.to_owned()),
        _ => None,
    };
    draft.handlers.iter().filter_map(group).collect()
}

/// What may be meant by a name that there is not.
fn suggest(name: &str, what: &str, known: &BTreeSet<String>) -> String {
    if let Some(nearest) = nearest(name, known.iter().map(String::as_str)) {
        return format!("did you mean `{nearest}`?");
    }
    let known: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
    if known.is_empty() { format!("it has no {what}") } else { format!("the {what} are: {}", known.join(", ")) }
}

fn setting(error: &dyn std::error::Error) -> Problem {
    Problem::new(ProblemKind::Setting, error.to_string(), "correct it where the builder or the settings say it")
}

fn store_gift(type_id: TypeId, name: &'static str) -> Supply {
    let location = SourceLocation { module: "", file: "the store", line: 0 };
    Supply { type_id, name, kind: SupplyKind::Store, location }
}

impl IntoFuture for Builder {
    type Output = Result<App, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.start())
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("handlers", &self.draft.handlers.len())
            .field("store", &self.store)
            .field("broker", &self.broker)
            .finish_non_exhaustive()
    }
}
