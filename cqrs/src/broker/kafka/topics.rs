//! Topics: made, looked for, or left to somebody else; each once.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, NoCustomPartitioner, Producer as _, ProducerContext};

use super::config::Config;
use super::error::{configuration, explain, kind_of, unavailable};
use super::log::Voice;
use crate::broker::options::Declare;
use crate::broker::{BrokerError, BrokerErrorKind};

/// How long the broker is asked for a topic before it is unavailable.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a question may block a thread.
const STEP: Duration = Duration::from_secs(1);

/// What is known of the topics.
#[derive(Debug)]
pub(super) struct Topics {
    config: Config,
    known: Mutex<HashSet<String>>,
    /// One at a time: what one makes, the next finds.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Context(Voice);

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, kind: &str, line: &str) {
        self.0.log(level, kind, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.error(&error, reason);
    }
}

impl ProducerContext<NoCustomPartitioner> for Context {
    type DeliveryOpaque = ();

    fn delivery(&self, _result: &DeliveryResult<'_>, (): ()) {}
}

/// Asks; it produces nothing. An `AdminClient` would not say that it is turned away.
type Asking = BaseProducer<Context>;

impl Topics {
    pub(super) fn new(config: Config) -> Self {
        Self { config, known: Mutex::default(), asking: tokio::sync::Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, HashSet<String>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks anew for a topic, the next time it is used.
    pub(super) fn forget(&self, topic: &str) {
        self.known().remove(topic);
    }

    fn unknown<'a>(&self, topics: &[&'a str]) -> Vec<&'a str> {
        let known = self.known();
        topics.iter().filter(|topic| !known.contains(**topic)).copied().collect()
    }

    /// Sees to topics as [`Declare`] says.
    pub(super) async fn see_to(&self, topics: &[&str]) -> Result<(), BrokerError> {
        if self.config.declare == Declare::Leave || self.unknown(topics).is_empty() {
            return Ok(());
        }
        let _turn = self.asking.lock().await;
        let unknown = self.unknown(topics);
        if unknown.is_empty() {
            return Ok(());
        }
        let config = self.config.admin();
        let client: Arc<Asking> = blocking(move || config.create_with_context(Context::default()))
            .await?
            .map(Arc::new)
            .map_err(|error| explain("the client of Kafka cannot be made", error))?;
        let (begun, voice) = (Instant::now(), &client.context().0);
        let declared = tokio::select! {
            declared = self.declare(&client, &unknown) => declared,
            error = voice.turned_away(begun) => Err(error),
            () = tokio::time::sleep(PATIENCE) => {
                let why = voice.last(begun).unwrap_or_else(|| "no answer".to_owned());
                Err(unavailable(format!("Kafka cannot be asked about the topic `{}`: {why}", unknown[0])))
            }
        };
        // Ending a client waits for its threads.
        drop(tokio::task::spawn_blocking(move || drop(client)));
        declared?;
        self.known().extend(unknown.into_iter().map(str::to_owned));
        Ok(())
    }

    async fn declare(&self, client: &Arc<Asking>, topics: &[&str]) -> Result<(), BrokerError> {
        let mut missing = Vec::new();
        for topic in topics {
            if !is_there(client, topic).await? {
                missing.push(*topic);
            }
        }
        match (self.config.declare, missing.first()) {
            (_, None) => Ok(()),
            (Declare::Create, _) => self.create(client, &missing).await,
            (_, Some(topic)) => Err(configuration(format!(
                "Kafka has no topic `{topic}`, and this app makes none (`Declare::Check`): make it, or let the app do so"
            ))),
        }
    }

    async fn create(&self, client: &Arc<Asking>, topics: &[&str]) -> Result<(), BrokerError> {
        let config = self.config.admin();
        let admin: AdminClient<DefaultClientContext> = blocking(move || config.create())
            .await?
            .map_err(|error| explain("the client of Kafka that makes topics cannot be made", error))?;
        let new = |name| NewTopic::new(name, self.config.partitions, TopicReplication::Fixed(-1));
        let new: Vec<_> = topics.iter().map(|topic| new(topic)).collect();
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE)).request_timeout(Some(PATIENCE));
        let failed = |error| explain("Kafka cannot be asked to make topics", error);
        let answer = admin.create_topics(&new, &options).await.map_err(failed);
        drop(tokio::task::spawn_blocking(move || drop(admin)));
        for made in answer? {
            match made {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((topic, code)) => {
                    let what = format!("Kafka does not make the topic `{topic}`");
                    return Err(BrokerError::new(kind_of(code), what).with_source(KafkaError::AdminOp(code)));
                }
            }
        }
        // A topic is made before everybody knows of it.
        for topic in topics {
            while !is_there(client, topic).await? {
                tokio::time::sleep(STEP / 50).await;
            }
        }
        Ok(())
    }
}

/// Whether a topic is there. Asks until there is an answer.
async fn is_there(client: &Arc<Asking>, topic: &str) -> Result<bool, BrokerError> {
    loop {
        let (client, name) = (Arc::clone(client), topic.to_owned());
        match blocking(move || ask(&client, &name)).await? {
            Ok(None) => return Ok(true),
            Ok(Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic)) => return Ok(false),
            Ok(Some(code)) if kind_of(code) == BrokerErrorKind::Configuration => {
                let what = format!("Kafka does not show the topic `{topic}`");
                return Err(configuration(what).with_source(KafkaError::MetadataFetch(code)));
            }
            Ok(Some(_)) | Err(_) => tokio::time::sleep(STEP / 10).await,
        }
    }
}

/// What stands in the way of using a topic, if anything.
fn ask(client: &Asking, topic: &str) -> KafkaResult<Option<RDKafkaErrorCode>> {
    let metadata = client.client().fetch_metadata(Some(topic), STEP);
    // What there is to say is said by the callbacks.
    client.poll(STEP / 100);
    let metadata = metadata?;
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    Ok(match found {
        Some(found) => found.error().map(RDKafkaErrorCode::from),
        None => Some(RDKafkaErrorCode::UnknownTopic),
    })
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, BrokerError> {
    let ended = tokio::task::spawn_blocking(work).await;
    ended.map_err(|error| unavailable("the runtime is shutting down").with_source(error))
}
