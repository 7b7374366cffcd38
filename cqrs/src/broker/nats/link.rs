//! The connection to the servers, made when it is first needed, and the streams of topics.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::context::{CreateStreamErrorKind, GetStreamErrorKind};
use async_nats::jetstream::kv::Store;
use async_nats::jetstream::stream::{self, DiscardPolicy, RetentionPolicy, StorageType};
use async_nats::jetstream::{Context, context::ContextBuilder};
use async_nats::{ConnectErrorKind, ConnectOptions, Event};
use tokio::sync::{OnceCell, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::address::{Address, Login, Properties, wrong};
use super::name;
use crate::broker::options::{BrokerOptions, Declare};
use crate::broker::{BrokerError, BrokerErrorKind};

/// How long somebody who needs the connection waits for it to come back.
const WAIT: Duration = Duration::from_secs(1);
/// At most so many messages are on their way to the server at once.
pub(super) const MAX_IN_FLIGHT: usize = 4_096;

/// What tells a stream from another of its name, and where it begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Made {
    /// When it was made, in nanoseconds.
    pub(super) made: i64,
    pub(super) first: u64,
}

pub(super) struct Link {
    address: Address,
    options: BrokerOptions,
    pub(super) properties: Properties,
    context: OnceCell<Context>,
    /// Counts the connections that were made, one after the other.
    connections: watch::Sender<u64>,
    /// Topics whose streams are known to be there.
    known: Mutex<HashSet<String>>,
    pub(super) closed: CancellationToken,
    /// What closing waits for.
    pub(super) tasks: TaskTracker,
}

impl Link {
    pub(super) fn new(url: &str, options: BrokerOptions) -> Result<Self, BrokerError> {
        let address = Address::read(url)?.trusting(&options)?;
        let properties = Properties::read(&options)?;
        Ok(Self {
            address,
            options,
            properties,
            context: OnceCell::new(),
            connections: watch::channel(0).0,
            known: Mutex::default(),
            closed: CancellationToken::new(),
            tasks: TaskTracker::new(),
        })
    }

    /// How many slots a topic has.
    pub(super) fn slots(&self) -> u16 {
        self.options.partitions.get()
    }

    /// Tells of each connection that is made anew.
    pub(super) fn connections(&self) -> watch::Receiver<u64> {
        self.connections.subscribe()
    }

    /// The connection. Waits a moment for one that is not up.
    pub(super) async fn context(&self) -> Result<&Context, BrokerError> {
        if self.closed.is_cancelled() {
            return Err(closed());
        }
        // One that waits for the attempts of others does not wait for all of them.
        let context = timeout(self.properties.timeout, self.context.get_or_try_init(|| self.connect()));
        let context = context.await.map_err(|_| unavailable("no NATS server answers in time"))??;
        let until = Instant::now() + WAIT;
        while context.client().connection_state() != State::Connected {
            if Instant::now() >= until {
                return Err(unavailable("the connection to NATS is down"));
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(context)
    }

    async fn connect(&self) -> Result<Context, BrokerError> {
        let connections = self.connections.clone();
        let mut options = ConnectOptions::new()
            .name("cqrs")
            .connection_timeout(self.properties.timeout)
            .request_timeout(Some(self.properties.timeout))
            .ping_interval(Duration::from_secs(5))
            .reconnect_delay_callback(|attempt| Duration::from_millis(1 << attempt.min(10)))
            .require_tls(self.address.tls)
            .event_callback(move |event| {
                note(&event);
                if event == Event::Connected {
                    connections.send_modify(|count| *count += 1);
                }
                std::future::ready(())
            });
        match &self.address.login {
            Login::Nobody => {}
            Login::Token(token) => options = options.token(token.clone()),
            Login::User(user, password) => options = options.user_and_password(user.clone(), password.clone()),
        }
        if let Some(ca) = &self.options.tls_ca {
            options = options.add_root_certificates(ca.clone());
        }
        if let Some(file) = &self.properties.credentials {
            let read = options.credentials_file(file).await;
            options =
                read.map_err(|error| wrong("the property `credentials` names no readable file").with_source(error))?;
        }
        let client = options.connect(self.address.servers.as_slice()).await.map_err(|error| {
            let what = match error.kind() {
                ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
                    wrong("NATS refuses the user, password, token or credentials")
                }
                ConnectErrorKind::Tls => wrong("NATS cannot be reached by TLS"),
                ConnectErrorKind::ServerParse => wrong("the servers of the NATS URL cannot be read"),
                _ => unavailable("NATS cannot be reached"),
            };
            what.with_source(error)
        })?;
        let context = ContextBuilder::new()
            .timeout(self.properties.timeout)
            .ack_timeout(self.properties.timeout)
            .max_ack_inflight(MAX_IN_FLIGHT)
            .backpressure_on_inflight(true)
            .build(client);
        Ok(context)
    }

    /// Sees to the stream of a topic, as was asked for. Gives its name.
    pub(super) async fn topic(&self, topic: &str) -> Result<String, BrokerError> {
        let Some(name) = name::stream(topic) else {
            return Err(wrong(format!("no stream can be made of the topic `{topic}`: it is empty or too long")));
        };
        if self.options.declare == Declare::Leave || self.known().contains(topic) {
            return Ok(name);
        }
        let context = self.context().await?;
        match context.get_stream(&name).await {
            Ok(stream) => self.fits(topic, &stream.cached_info().config)?,
            Err(error) => match error.kind() {
                GetStreamErrorKind::JetStream(fault) if fault.code() == 404 => {
                    self.make(context, topic, name.clone()).await?;
                }
                _ => return Err(jetstream(&format!("the stream of the topic `{topic}` cannot be asked for"), error)),
            },
        }
        self.known().insert(topic.to_owned());
        Ok(name)
    }

    async fn make(&self, context: &Context, topic: &str, name: String) -> Result<(), BrokerError> {
        if self.options.declare == Declare::Check {
            return Err(wrong(format!(
                "the topic `{topic}` is missing: NATS has no stream `{name}`, and `Declare::Check` makes none"
            )));
        }
        let config = stream::Config {
            name,
            description: Some(format!("The topic `{topic}`.")),
            subjects: self.subjects(topic),
            retention: RetentionPolicy::Limits,
            // Where a limit of bytes is set, what is new is refused rather than what is old lost.
            discard: DiscardPolicy::New,
            storage: StorageType::File,
            max_age: self.properties.max_age,
            max_bytes: self.properties.max_bytes.unwrap_or(-1),
            duplicate_window: self.window(),
            num_replicas: self.properties.replicas,
            ..stream::Config::default()
        };
        // Another process that was faster asked for the same, or it is told apart below.
        match context.create_stream(config).await {
            Ok(stream) => self.fits(topic, &stream.cached_info().config),
            Err(error) => {
                let what = format!("the stream of the topic `{topic}` cannot be made");
                Err(match error.kind() {
                    CreateStreamErrorKind::JetStream(fault) if fault.code() < 500 => wrong(what).with_source(error),
                    _ => unavailable(what).with_source(error),
                })
            }
        }
    }

    /// The server takes no window that is longer than messages are kept.
    fn window(&self) -> Duration {
        match self.properties.max_age {
            Duration::ZERO => self.properties.duplicate_window,
            age => self.properties.duplicate_window.min(age),
        }
    }

    fn subjects(&self, topic: &str) -> Vec<String> {
        (0..self.slots()).map(|slot| name::subject(topic, slot)).collect()
    }

    /// Whether a stream that is there is one that we can use.
    fn fits(&self, topic: &str, config: &stream::Config) -> Result<(), BrokerError> {
        let stream = &config.name;
        let (mut theirs, mut ours) = (config.subjects.clone(), self.subjects(topic));
        theirs.sort_unstable();
        ours.sort_unstable();
        if theirs != ours {
            let of_ours = (0_u16..).zip(&config.subjects).all(|(slot, _)| theirs.contains(&name::subject(topic, slot)));
            return Err(wrong(if of_ours {
                format!(
                    "the stream `{stream}` of the topic `{topic}` has {} partitions, and {} are set: everybody who uses the topic must say the same, `.partitions({})`",
                    theirs.len(),
                    ours.len(),
                    theirs.len()
                )
            } else {
                format!(
                    "the stream `{stream}` has other subjects than the topic `{topic}` needs: {theirs:?} instead of {ours:?}"
                )
            }));
        }
        if config.retention != RetentionPolicy::Limits {
            return Err(wrong(format!(
                "the stream `{stream}` of the topic `{topic}` has the retention {:?}; it has to be `limits`, so that each group can read every message",
                config.retention
            )));
        }
        Ok(())
    }

    /// The stream of a topic, by name, and what tells it from another of that name.
    pub(super) async fn stream(&self, topic: &str) -> Result<(String, Made), BrokerError> {
        let name = self.topic(topic).await?;
        let stream = self.context().await?.get_stream(&name).await.map_err(|error| {
            self.forget(topic);
            jetstream(&format!("the stream of the topic `{topic}` cannot be asked for"), error)
        })?;
        let info = stream.cached_info();
        let made = i64::try_from(info.created.unix_timestamp_nanos()).unwrap_or(i64::MAX);
        Ok((name, Made { made, first: info.state.first_sequence }))
    }

    /// A stream that was there is not any more: it is looked for again.
    pub(super) fn forget(&self, topic: &str) {
        self.known().remove(topic);
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where groups keep who owns what. Made where it is missing and we make things.
    pub(super) async fn bucket(&self) -> Result<Store, BrokerError> {
        let (context, bucket) = (self.context().await?, &self.properties.bucket);
        let missing = match context.get_key_value(bucket).await {
            Ok(store) => return Ok(store),
            Err(error) => error,
        };
        if self.options.declare != Declare::Create {
            return Err(wrong(format!("NATS gives no key-value bucket `{bucket}`, where groups keep their positions; make it, or let `Declare::Create`")).with_source(missing));
        }
        // As the client's `create_key_value` makes it; that one asks for the account, and cannot read what servers before
        // 2.10 answer.
        let config = stream::Config {
            name: format!("KV_{bucket}"),
            description: Some("Who owns which slot of a topic, and how far each is done.".to_owned()),
            subjects: vec![format!("$KV.{bucket}.>")],
            max_messages_per_subject: 1,
            discard: DiscardPolicy::New,
            storage: StorageType::File,
            allow_rollup: true,
            deny_delete: true,
            allow_direct: true,
            num_replicas: self.properties.replicas,
            ..stream::Config::default()
        };
        let failed = |error: crate::BoxError| {
            unavailable(format!("the key-value bucket `{bucket}` cannot be made")).with_source(error)
        };
        context.create_stream(config).await.map_err(|error| failed(error.into()))?;
        context.get_key_value(bucket).await.map_err(|error| failed(error.into()))
    }
}

fn note(event: &Event) {
    match event {
        Event::Connected => tracing::debug!("connected to NATS"),
        Event::Disconnected => tracing::warn!("the connection to NATS is down"),
        Event::ServerError(error) => tracing::warn!(%error, "NATS reports an error"),
        Event::ClientError(error) => tracing::warn!(%error, "the client of NATS reports an error"),
        other => tracing::debug!(%other, "NATS"),
    }
}

pub(super) fn unavailable(what: impl Into<String>) -> BrokerError {
    BrokerError::new(BrokerErrorKind::Unavailable, what)
}

/// What caused an error, for the log.
pub(super) fn cause(error: &BrokerError) -> Option<String> {
    let mut cause = std::error::Error::source(error)?;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    Some(cause.to_string())
}

pub(super) fn closed() -> BrokerError {
    BrokerError::new(BrokerErrorKind::Closed, "the NATS broker is closed")
}

/// An answer of JetStream that says nothing about what was asked for, but about the server.
fn jetstream(what: &str, error: impl std::error::Error + Send + Sync + 'static) -> BrokerError {
    let text = error.to_string();
    let is_absent = text.contains("10039") || text.contains("10076") || text.contains("not enabled");
    if is_absent { wrong(format!("{what}; is JetStream enabled?")) } else { unavailable(what) }.with_source(error)
}
