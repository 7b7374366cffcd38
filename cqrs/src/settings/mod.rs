//! Settings: the builder's words from a file and the environment.
//!
//! [`keys`] is the table of all keys and how each is read, [`value`] reads one value, [`error`] words what is wrong. The
//! layers are merged by `figment`, which also remembers which layer each value came from.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::breaker::BreakerOptions;
use crate::broker::{BrokerWords, Declare};
use crate::message::WireFormat;
use crate::registry::{OnDead, OnUnknown, RetryOptions};
use crate::relay::RelaySettings;
use crate::saga::LimitsItem;
use crate::store::StoreOptions;
use crate::wire::Compression;
use crate::{Broker, Builder, Store};

mod error;
mod keys;
mod layer;
pub(crate) mod nearest;
#[cfg(test)]
mod tests;
mod value;

pub use self::error::{SettingsError, SettingsErrorKind};

/// The file that is read where `CQRS_CONFIG` names no other.
const FILE: &str = "cqrs.toml";

/// The builder's words from a file and the environment, for [`Builder::settings`].
///
/// [`load`](Self::load) reads `cqrs.toml`, then `CQRS_*` variables, which win. What neither says stays as the builder
/// has it. Durations are texts such as `"250ms"`, `"5s"`, `"7d"`.
///
/// | key | is | unless said otherwise |
/// |---|---|---|
/// | `store`, `broker` | URLs | none |
/// | `store_prefix` | what the names of the store's tables begin with | `cqrs_` |
/// | `store_schema` | the schema they are in, on PostgreSQL | the connection's own |
/// | `store_notify` | whether processes tell each other what they store, on PostgreSQL: [`Store::notify`] | false |
/// | `broker_declare` | what is done about topics: `create`, `check`, `leave` ([`Broker::declare`]) | create |
/// | `broker_partitions` | how many partitions a topic has that is made: [`Broker::partitions`] | 8 |
/// | `broker_tls_ca` | a PEM file of authorities whose certificates are trusted: [`Broker::tls_ca`] | the machine's alone |
/// | `run` | which parts `App::run` runs: `relay`, `work`, `timers`, `sagas`, `group:NAME`, `retries:NAME` | all |
/// | `event_concurrency` | plain event handlers of one call at once | 1 for `send`, 10 for `stream` |
/// | `event_depth` | how deep follow-up events may go | 64 |
/// | `concurrency` | messages of a group, or batches of them, and durable handlers, at once | 8 |
/// | `shutdown_timeout` | how long stopping may take | 30s |
/// | `lease` | how long a claim holds unless it is renewed | 5s |
/// | `deadline` | how long one attempt of stored work may take | 60s |
/// | `payload_limit` | the largest message as JSON, without what surrounds it on the wire, in bytes or as `"1MiB"` | 1MiB |
/// | `codec` | how notification events are written that do not say so themselves: `json`, `cloudevents` | json |
/// | `compression` | how their bodies are compressed: `none`, `zlib`, `zstd` | none |
/// | `event_source` | who writes them, a URI: the `source` of CloudEvents | /cqrs |
/// | `on_dead` | what a dead message does to the later ones of its key: `park`, `skip` | park |
/// | `unknown` | what becomes of a message whose name no handler of a group takes: `skip`, `dead` | skip |
/// | `inbox_window` | how long it is remembered what was handled | 7d |
/// | `idempotency_retention` | how long the response to a call with an idempotency key is kept | 24h |
/// | `outbox_retention` | how long an event is kept after it was published, in the table `cqrs_published` | 0s: it goes at once |
/// | `audit_retention` | how long it is remembered what was done to dead letters, the outbox and timers | 90d |
/// | `saga_retention` | how long a saga is kept after it has ended | 30d |
/// | `awaited_retention` | how long an event is kept for sagas that wait for it, or will | 7d |
/// | `retry` | a table: `max`, `first`, `factor`, `ceiling` | 5, 1s, 2.0, 5m |
/// | `breaker` | a table: `failures`, `open_for`, `window` | 5, 60s, failures in a row |
/// | `relay` | `"off"`, or a table: `batch`, `in_flight`, `poll_first`, `poll_ceiling`, `retry` | 2,000, 4, 50ms, 1s |
/// | `saga.NAME` | a table: `concurrency`, `rate` (`"100/s"`, `"30/m"`, `"500/h"`), of a saga in one process | the attribute's |
/// | `group.NAME` | a table: `concurrency`, `batch`, `retry`, `on_dead` (`park`, `skip`), `unknown` (`skip`, `dead`) | the attribute's |
///
/// A URL says where, and the rest of what the code says of its store and broker stays. The keys beside it hold whoever says the
/// URL, also for a store and a broker that the code names after `.settings(..)`, unless they say it themselves. A store refuses
/// what it has not. `memory:`, `devnull:` and drivers leave the keys of brokers unused, so that `CQRS_BROKER=memory:` runs a
/// program whose file speaks of servers.
///
/// About a group `group.NAME` has the first word, then the handler's attribute, then what is said of all (`concurrency`,
/// `retry`); about a saga `saga.NAME` has it. A group or a saga that the app does not have is a wiring error.
///
/// In a variable's name `__` stands for a step into a table: `CQRS_GROUP__BILLING__CONCURRENCY`. All of it is read in lower case: a group or
/// a saga that is not called so is spoken of in a file.
///
/// ```
/// use cqrs::Settings;
///
/// let settings = Settings::from_toml(
///     r#"
///     store = "sqlite://shop.db"
///     lease = "5s"
///
///     [group.billing]
///     concurrency = 4
///     "#,
/// )?;
/// # let _ = settings;
///
/// let error = Settings::from_toml("leese = '5s'").unwrap_err();
/// assert_eq!(error.to_string(), "unknown key `leese` in the given text; did you mean `lease`?");
/// # Ok::<(), cqrs::Error>(())
/// ```
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct Settings {
    store: Option<String>,
    store_prefix: Option<String>,
    store_schema: Option<String>,
    store_notify: Option<bool>,
    broker: Option<String>,
    broker_declare: Option<Declare>,
    broker_partitions: Option<NonZeroU16>,
    broker_tls_ca: Option<PathBuf>,
    run: Option<Vec<String>>,
    event_concurrency: Option<usize>,
    event_depth: Option<u32>,
    concurrency: Option<usize>,
    shutdown_timeout: Option<Duration>,
    lease: Option<Duration>,
    deadline: Option<Duration>,
    payload_limit: Option<usize>,
    codec: Option<WireFormat>,
    compression: Option<Compression>,
    event_source: Option<String>,
    on_dead: Option<OnDead>,
    unknown: Option<OnUnknown>,
    inbox_window: Option<Duration>,
    idempotency_retention: Option<Duration>,
    outbox_retention: Option<Duration>,
    audit_retention: Option<Duration>,
    saga_retention: Option<Duration>,
    awaited_retention: Option<Duration>,
    retry: RetryOptions,
    breaker: BreakerOptions,
    relay: RelayWords,
    groups: BTreeMap<String, GroupWords>,
    sagas: BTreeMap<String, LimitsItem>,
}

/// What is said about the relay.
#[derive(Debug, Clone, Copy, Default)]
struct RelayWords {
    on: Option<bool>,
    batch: Option<usize>,
    in_flight: Option<usize>,
    poll_first: Option<Duration>,
    poll_ceiling: Option<Duration>,
    retry: RetryOptions,
}

/// What is said about one group.
#[derive(Debug, Clone, Copy, Default)]
struct GroupWords {
    concurrency: Option<usize>,
    batch: Option<usize>,
    retry: RetryOptions,
    on_dead: Option<OnDead>,
    unknown: Option<OnUnknown>,
}

impl Settings {
    /// Reads `cqrs.toml` in the working directory if there is one, or the file that `CQRS_CONFIG` names, then the
    /// `CQRS_*` variables.
    ///
    /// # Errors
    /// Fails with every unknown key and every bad value at once, each with where it stands and what was expected; or
    /// where the file cannot be read.
    pub fn load() -> Result<Self, SettingsError> {
        let file = match std::env::var_os("CQRS_CONFIG") {
            Some(path) => Some(read(Path::new(&path))?),
            None if Path::new(FILE).is_file() => Some(read(Path::new(FILE))?),
            None => None,
        };
        let variables = std::env::vars_os();
        let variables =
            variables.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self::from_layers(file.as_ref().map(|(name, text)| (name.as_str(), text.as_str())), variables)
    }

    /// Reads settings from a text of the file's form.
    ///
    /// # Errors
    /// Fails as [`load`](Self::load) does.
    pub fn from_toml(text: &str) -> Result<Self, SettingsError> {
        Self::from_layers(Some(("the given text", text)), std::iter::empty())
    }

    fn from_layers(
        file: Option<(&str, &str)>,
        variables: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, SettingsError> {
        let merged = layer::merge(file, variables)?;
        let mut settings = Self::default();
        let mut reader = keys::Reader::new(&merged);
        reader.table(keys::SETTINGS, &mut settings, &merged.values, "");
        reader.finish().map(|()| settings)
    }

    /// The relay's settings, with what is said here.
    fn relay(&self, relay: &mut RelaySettings) {
        set(&mut relay.batch, self.relay.batch);
        set(&mut relay.in_flight, self.relay.in_flight);
        set(&mut relay.poll_first, self.relay.poll_first);
        set(&mut relay.poll_ceiling, self.relay.poll_ceiling);
        relay.retry = relay.retry.overlaid(self.relay.retry);
    }

    /// Says to the builder where the store and the broker are, and what else is said of them.
    fn place(&mut self, builder: &mut Builder) {
        let store = StoreOptions {
            prefix: self.store_prefix.take(),
            schema: self.store_schema.take(),
            notify: self.store_notify,
            ..StoreOptions::default()
        };
        let broker = BrokerWords {
            declare: self.broker_declare,
            partitions: self.broker_partitions,
            tls_ca: self.broker_tls_ca.take(),
        };
        builder.place(self.store.take().map(Store::url), self.broker.take().map(Broker::url));
        builder.adjust(store, broker);
    }

    /// Says to the builder what is said here.
    pub(crate) fn apply(mut self, builder: &mut Builder) {
        self.place(builder);
        let options = &mut builder.options;
        self.relay(&mut options.relay);
        set(&mut options.relay_off, self.relay.on.map(|on| !on));
        options.run = self.run.or(options.run.take());
        set(&mut options.event_concurrency, self.event_concurrency);
        set(&mut options.stream_event_concurrency, self.event_concurrency);
        set(&mut options.event_depth, self.event_depth);
        set(&mut options.concurrency, self.concurrency);
        set(&mut options.shutdown_timeout, self.shutdown_timeout);
        set(&mut options.lease, self.lease);
        set(&mut options.deadline, self.deadline);
        set(&mut options.payload_limit, self.payload_limit);
        set(&mut options.wire.format, self.codec);
        set(&mut options.wire.compression, self.compression);
        options.wire.source = self.event_source.or(options.wire.source.take());
        set(&mut options.on_dead, self.on_dead);
        set(&mut options.unknown, self.unknown);
        set(&mut options.inbox_window, self.inbox_window);
        set(&mut options.idempotency_retention, self.idempotency_retention);
        set(&mut options.outbox_retention, self.outbox_retention);
        set(&mut options.audit_retention, self.audit_retention);
        set(&mut options.saga_retention, self.saga_retention);
        set(&mut options.awaited_retention, self.awaited_retention);
        options.retry = options.retry.overlaid(self.retry);
        options.breaker = options.breaker.overlaid(self.breaker);
        for (name, words) in self.groups {
            let group = options.groups.entry(name).or_default();
            group.concurrency = words.concurrency.or(group.concurrency);
            group.batch = words.batch.or(group.batch);
            group.retry = over(words.retry, group.retry);
            group.on_dead = words.on_dead.or(group.on_dead);
            group.unknown = words.unknown.or(group.unknown);
        }
        for (name, words) in self.sagas {
            let limits = options.sagas.entry(name).or_default();
            *limits = words.or(*limits);
        }
    }
}

fn set<T>(place: &mut T, said: Option<T>) {
    if let Some(said) = said {
        *place = said;
    }
}

/// What `words` leaves out comes from `before`.
fn over(words: RetryOptions, before: RetryOptions) -> RetryOptions {
    RetryOptions::new(
        words.max.or(before.max),
        words.first.or(before.first),
        words.factor.or(before.factor),
        words.ceiling.or(before.ceiling),
    )
}

fn read(path: &Path) -> Result<(String, String), SettingsError> {
    let name = PathBuf::from(path).display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => Ok((name, text)),
        Err(error) => Err(SettingsError::unreadable(&name, &error)),
    }
}

/// Without the URLs' text: it may hold a password.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = |url: &Option<String>| url.as_deref().map(|url| url.split(':').next().unwrap_or("").to_owned());
        f.debug_struct("Settings")
            .field("store", &scheme(&self.store))
            .field("broker", &scheme(&self.broker))
            .field("run", &self.run)
            .field("lease", &self.lease)
            .field("retry", &self.retry)
            .field("breaker", &self.breaker)
            .field("relay", &self.relay)
            .field("groups", &self.groups)
            .field("sagas", &self.sagas)
            .finish_non_exhaustive()
    }
}
