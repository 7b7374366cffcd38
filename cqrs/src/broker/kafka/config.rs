//! From a URL and options to the properties of librdkafka. Asks the broker nothing.

use std::time::Duration;

use percent_encoding::percent_decode_str;
use rdkafka::ClientConfig;

use super::error::configuration;
use crate::broker::BrokerError;
use crate::broker::options::{BrokerOptions, Declare};

/// How long a message may wait for its confirmation without any other of its batch being confirmed.
const PATIENCE: Duration = Duration::from_secs(30);
/// What the C library waits longer than we do, for messages that nobody waits for any more.
const SLACK: Duration = Duration::from_secs(30);

/// What the guarantees rest on. The user sets none of these.
const OURS: [&str; 11] = [
    "acks",
    "allow.auto.create.topics",
    "bootstrap.servers",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.gapless.guarantee",
    "enable.idempotence",
    "group.id",
    "metadata.broker.list",
    "partition.assignment.strategy",
    "request.required.acks",
];

/// The names of how long a message may wait, in milliseconds.
const TIMEOUTS: [&str; 2] = ["message.timeout.ms", "delivery.timeout.ms"];

/// How the broker is reached, and what is done about topics.
#[derive(Debug, Clone)]
pub(super) struct Config {
    /// What every client needs.
    common: Vec<(String, String)>,
    /// What the user has set.
    properties: Vec<(String, String)>,
    pub(super) declare: Declare,
    pub(super) partitions: i32,
    pub(super) patience: Duration,
}

impl Config {
    /// Reads `kafka://user:password@host:port,host2:port2?tls=true&sasl=scram-sha-512`.
    pub(super) fn new(url: &str, options: &BrokerOptions) -> Result<Self, BrokerError> {
        let address = Address::read(url)?;
        let mut common = vec![("bootstrap.servers".to_owned(), address.servers.clone())];
        common.extend(security(&address, options)?);
        if let Some((name, _)) = options.properties.iter().find(|(name, _)| OURS.contains(&name.as_str())) {
            return Err(configuration(format!("`{name}` is not yours to set: the guarantees rest on it")));
        }
        let mut properties = options.properties.clone();
        let patience = patience(&mut properties)?;
        let partitions = i32::from(options.partitions.get());
        let config = Self { common, properties, declare: options.declare, partitions, patience };
        for client in [config.producer(), config.consumer("group")] {
            client.create_native_config().map_err(|error| configuration(format!("{error}")).with_source(error))?;
        }
        Ok(config)
    }

    /// A client that produces: each message once and in order, whatever is sent again in between.
    pub(super) fn producer(&self) -> ClientConfig {
        let timeout = (self.patience + SLACK).as_millis();
        let mut config = self.client(&[
            // The relay hands over what there is in one go: a batch fills without anybody waiting for it.
            ("linger.ms", "0"),
            // A broker takes the first request of a producer that it does not know whatever its number: if that was the second, which was
            // under way while the first was refused, what is behind a message would come before it.
            ("max.in.flight.requests.per.connection", "1"),
            // As Java's clients do it, so that who publishes with another finds the same partition for a key.
            ("partitioner", "murmur2_random"),
        ]);
        config.set("message.timeout.ms", timeout.to_string());
        config.set("acks", "all").set("enable.idempotence", "true");
        // A batch that the broker refuses ends the producer, so that nothing behind it is published before it.
        config.set("enable.gapless.guarantee", "true");
        config
    }

    /// A client that consumes as a member of a group.
    pub(super) fn consumer(&self, group: &str) -> ClientConfig {
        let mut config = self.client(&[
            ("auto.offset.reset", "earliest"),
            // What a dead process held is somebody else's after so long.
            ("session.timeout.ms", "8000"),
            ("heartbeat.interval.ms", "2000"),
            // For each partition, of which a member may have hundreds.
            ("queued.min.messages", "10000"),
            ("queued.max.messages.kbytes", "2048"),
        ]);
        config.set("group.id", group).set("enable.auto.commit", "false").set("enable.auto.offset.store", "false");
        // Partitions that stay are read on while others move.
        config.set("partition.assignment.strategy", "cooperative-sticky");
        config
    }

    /// A client that looks at topics and makes them.
    pub(super) fn admin(&self) -> ClientConfig {
        self.client(&[])
    }

    /// What the user has set goes before what we would.
    fn client(&self, defaults: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        for (name, value) in defaults {
            config.set(*name, *value);
        }
        for (name, value) in self.common.iter().chain(&self.properties) {
            config.set(name, value);
        }
        // To look whether a topic is there must not make it.
        config.set("allow.auto.create.topics", "false");
        config
    }
}

/// Takes out how long a message may wait: it is our own clock that says so.
fn patience(properties: &mut Vec<(String, String)>) -> Result<Duration, BrokerError> {
    let said = properties.iter().rfind(|(name, _)| TIMEOUTS.contains(&name.as_str())).cloned();
    properties.retain(|(name, _)| !TIMEOUTS.contains(&name.as_str()));
    let Some((name, value)) = said else { return Ok(PATIENCE) };
    match value.parse() {
        Ok(millis @ 1..=86_400_000) => Ok(Duration::from_millis(millis)),
        _ => Err(configuration(format!("`{name}` takes milliseconds, from 1 to a day of them: `{value}` is none"))),
    }
}

/// A URL, taken apart.
#[derive(Debug, PartialEq, Eq)]
struct Address {
    servers: String,
    login: Option<(String, String)>,
    tls: bool,
    sasl: Option<&'static str>,
}

impl Address {
    fn read(url: &str) -> Result<Self, BrokerError> {
        let rest = url
            .strip_prefix("kafka://")
            .ok_or_else(|| configuration("the URL of Kafka is `kafka://host:port`, with several hosts after commas"))?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (login, servers) = match rest.rsplit_once('@') {
            Some((login, servers)) => (Some(read_login(login)?), servers),
            None => (None, rest),
        };
        let servers = servers.trim_end_matches('/');
        if servers.is_empty() || servers.contains('/') || servers.split(',').any(str::is_empty) {
            return Err(configuration(
                "the URL of Kafka names hosts and nothing else: `kafka://host:port,host2:port2`",
            ));
        }
        let mut address = Self { servers: servers.to_owned(), login, tls: false, sasl: None };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            address.parameter(pair.split_once('=').unwrap_or((pair, "")))?;
        }
        match (&address.login, address.sasl) {
            (None, Some(_)) => Err(configuration("`sasl` needs a user and a password: `kafka://user:password@host`")),
            (Some(_), None) => Ok(Self { sasl: Some("PLAIN"), ..address }),
            _ => Ok(address),
        }
    }

    fn parameter(&mut self, (name, value): (&str, &str)) -> Result<(), BrokerError> {
        match (name, value.to_ascii_lowercase().as_str()) {
            ("tls", "true") => self.tls = true,
            ("tls", "false") => self.tls = false,
            ("sasl", "plain") => self.sasl = Some("PLAIN"),
            ("sasl", "scram-sha-256") => self.sasl = Some("SCRAM-SHA-256"),
            ("sasl", "scram-sha-512") => self.sasl = Some("SCRAM-SHA-512"),
            ("tls", _) => return Err(configuration(format!("`tls` is `true` or `false`, not `{value}`"))),
            ("sasl", _) => {
                let what = format!("`sasl` is `plain`, `scram-sha-256` or `scram-sha-512`, not `{value}`");
                return Err(configuration(what));
            }
            _ => {
                let what = format!(
                    "the URL of Kafka takes `tls` and `sasl`, not `{name}`: set what librdkafka takes with `.property`"
                );
                return Err(configuration(what));
            }
        }
        Ok(())
    }
}

fn read_login(login: &str) -> Result<(String, String), BrokerError> {
    let decode = |text: &str| percent_decode_str(text).decode_utf8().map(std::borrow::Cow::into_owned).ok();
    let read = login.split_once(':').and_then(|(user, password)| Some((decode(user)?, decode(password)?)));
    // What it says instead is not repeated: it may be a password.
    read.ok_or_else(|| configuration("what stands before the `@` of Kafka's URL is `user:password`, percent-encoded"))
}

fn security(address: &Address, options: &BrokerOptions) -> Result<Vec<(String, String)>, BrokerError> {
    let mut all = Vec::new();
    let mut set = |name: &str, value: &str| all.push((name.to_owned(), value.to_owned()));
    let protocol = match (address.tls, address.login.is_some()) {
        (false, false) => "plaintext",
        (true, false) => "ssl",
        (false, true) => "sasl_plaintext",
        (true, true) => "sasl_ssl",
    };
    if protocol != "plaintext" {
        set("security.protocol", protocol);
    }
    if let (Some((user, password)), Some(mechanism)) = (&address.login, address.sasl) {
        set("sasl.mechanism", mechanism);
        set("sasl.username", user);
        set("sasl.password", password);
    }
    let scram = address.sasl.is_some_and(|mechanism| mechanism != "PLAIN");
    if (address.tls || scram) && !cfg!(feature = "kafka-tls") {
        return Err(configuration("TLS and SCRAM with Kafka need the feature `kafka-tls` of `cqrs`"));
    }
    let Some(file) = &options.tls_ca else { return Ok(all) };
    if !address.tls && !options.properties.iter().any(|(name, _)| name == "security.protocol") {
        return Err(configuration("`tls_ca` is set, and Kafka's URL asks for no TLS: add `?tls=true`"));
    }
    let pem = std::fs::read_to_string(file).map_err(|error| {
        configuration(format!("the certificates in {} cannot be read", file.display())).with_source(error)
    })?;
    set("ssl.ca.pem", &pem);
    // With a PEM of its own the library looks for no others.
    #[cfg(feature = "kafka-tls")]
    if let Some(machine) = openssl_probe::probe().cert_file {
        set("ssl.ca.location", &machine.to_string_lossy());
    }
    Ok(all)
}

#[cfg(test)]
#[path = "tests/config.rs"]
mod tests;
