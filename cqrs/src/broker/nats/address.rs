//! The URL and the properties of a NATS broker. No I/O.

use std::path::PathBuf;
use std::time::Duration;

use super::name::unescape;
use crate::broker::options::BrokerOptions;
use crate::broker::{BrokerError, BrokerErrorKind};

/// Where the servers are, and as whom.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) servers: Vec<String>,
    pub(super) tls: bool,
    pub(super) login: Login,
}

/// As whom to connect.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Login {
    Nobody,
    Token(String),
    User(String, String),
}

/// What the properties say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Properties {
    /// How long the server remembers the id of a message, to store it once.
    pub(super) duplicate_window: Duration,
    /// How long a message is kept; for ever where it is zero.
    pub(super) max_age: Duration,
    /// How many bytes a stream may hold before it takes no more; any number where there is none.
    pub(super) max_bytes: Option<i64>,
    /// On how many servers of a cluster streams are kept.
    pub(super) replicas: usize,
    /// Where groups keep who owns what, and how far they are.
    pub(super) bucket: String,
    /// A file of credentials, as `nsc` writes it.
    pub(super) credentials: Option<PathBuf>,
    /// How long the server may take to answer.
    pub(super) timeout: Duration,
}

impl Default for Properties {
    fn default() -> Self {
        Self {
            duplicate_window: Duration::from_mins(2),
            max_age: Duration::ZERO,
            max_bytes: None,
            replicas: 1,
            bucket: "cqrs".to_owned(),
            credentials: None,
            timeout: Duration::from_secs(5),
        }
    }
}

impl Properties {
    pub(super) fn read(options: &BrokerOptions) -> Result<Self, BrokerError> {
        let mut properties = Self::default();
        for (name, value) in &options.properties {
            properties.set(name, value)?;
        }
        Ok(properties)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), BrokerError> {
        let wrong = |what: &str| wrong(format!("the property `{name}` of a NATS broker is {what}, not `{value}`"));
        let duration = || humantime::parse_duration(value).map_err(|_| wrong("a duration, such as `2m`"));
        match name {
            "duplicate_window" => self.duplicate_window = duration()?,
            "max_age" => self.max_age = duration()?,
            "timeout" => self.timeout = duration()?,
            "max_bytes" => {
                let bytes = value.parse().ok().filter(|bytes| *bytes > 0);
                self.max_bytes = Some(bytes.ok_or_else(|| wrong("a number of bytes"))?);
            }
            "replicas" => {
                let replicas = value.parse().ok().filter(|replicas| (1..=5).contains(replicas));
                self.replicas = replicas.ok_or_else(|| wrong("a number from 1 to 5"))?;
            }
            "bucket" => {
                let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
                if value.is_empty() || !value.bytes().all(is_plain) {
                    return Err(wrong("made of ASCII letters, digits, `-` and `_`"));
                }
                value.clone_into(&mut self.bucket);
            }
            "credentials" => self.credentials = Some(PathBuf::from(value)),
            _ => {
                return Err(self::wrong(format!(
                    "a NATS broker has no property `{name}`; it has `bucket`, `credentials`, `duplicate_window`, `max_age`, `max_bytes`, `replicas` and `timeout`"
                )));
            }
        }
        Ok(())
    }
}

impl Address {
    /// Reads `nats://[user:password@]host[:port][,host[:port]]`, or `tls://` or `nats+tls://` in its place.
    pub(super) fn read(url: &str) -> Result<Self, BrokerError> {
        // The URL itself is not repeated: it may hold a password.
        let malformed = |what: &str| {
            wrong(format!(
                "the URL of a NATS broker {what}; it has the form `nats://user:password@host:4222,other:4222`, or begins with `tls://`"
            ))
        };
        let (scheme, rest) = url.split_once("://").ok_or_else(|| malformed("has no `://`"))?;
        let tls = scheme != "nats";
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (login, hosts) = match rest.rsplit_once('@') {
            Some((login, hosts)) => {
                (Login::read(login).ok_or_else(|| malformed("has a login that cannot be read"))?, hosts)
            }
            None => (Login::Nobody, rest),
        };
        let mut servers = Vec::new();
        for host in hosts.split(',') {
            let server = format!("{}://{host}", if tls { "tls" } else { "nats" });
            let is_host = !host.is_empty() && !host.contains(['/', '?', '#', '@']);
            if !is_host || server.parse::<async_nats::ServerAddr>().is_err() {
                return Err(malformed("has a host that cannot be read"));
            }
            servers.push(server);
        }
        Ok(Self { servers, tls, login })
    }

    /// Refuses certificates that nobody would look at. A server may ask for TLS where the URL does not, but one that does not
    /// ask would be talked to in the clear.
    pub(super) fn trusting(self, options: &BrokerOptions) -> Result<Self, BrokerError> {
        let Some(file) = &options.tls_ca else { return Ok(self) };
        if !self.tls {
            return Err(wrong(
                "`tls_ca` is said, but the broker's URL begins with `nats:`, which asks for no encryption: say `tls:`",
            ));
        }
        // The client reads it when it connects.
        std::fs::File::open(file).map_err(|error| {
            wrong(format!("the certificates of `tls_ca`, `{}`, cannot be read", file.display())).with_source(error)
        })?;
        Ok(self)
    }
}

impl Login {
    fn read(text: &str) -> Option<Self> {
        Some(match text.split_once(':') {
            Some((user, password)) => Self::User(unescape(user, b'%')?, unescape(password, b'%')?),
            None => Self::Token(unescape(text, b'%')?),
        })
    }
}

pub(super) fn wrong(what: impl Into<String>) -> BrokerError {
    BrokerError::new(BrokerErrorKind::Configuration, what)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Address, Login, Properties};
    use crate::broker::options::BrokerOptions;

    fn with(name: &str, value: &str) -> Result<Properties, String> {
        let options = BrokerOptions { properties: vec![(name.into(), value.into())], ..BrokerOptions::default() };
        Properties::read(&options).map_err(|error| error.to_string())
    }

    #[test]
    fn a_url_names_servers_and_a_login() {
        let address = Address::read("nats://me:p%40ss%3A@one:4222,two:4223,[::1]:4224/").ok().unwrap();
        assert_eq!(address.servers, ["nats://one:4222", "nats://two:4223", "nats://[::1]:4224"]);
        assert!(!address.tls && address.login == Login::User("me".into(), "p@ss:".into()));
        let address = Address::read("tls://t0ken@one").ok().unwrap();
        assert!(address.tls && address.login == Login::Token("t0ken".into()));
        let address = Address::read("nats+tls://one").ok().unwrap();
        assert!(address.tls && address.login == Login::Nobody && address.servers == ["tls://one"]);
    }

    #[test]
    fn a_url_that_cannot_be_read_is_refused_without_its_password() {
        for url in [
            "nats:",
            "nats://",
            "nats://one,",
            "nats://me:secret@",
            "nats://me:secret@one:x",
            "nats://me:secret%2@one",
            "nats://me:secret@one/path",
        ] {
            let error = Address::read(url).err().unwrap().to_string();
            assert!(error.contains("has the form") && !error.contains("secret"), "{url}: {error}");
        }
    }

    #[test]
    fn certificates_are_for_an_encrypted_connection_and_must_be_there() {
        let options = BrokerOptions { tls_ca: Some("/none/ca.pem".into()), ..BrokerOptions::default() };
        let error = |url| Address::read(url).and_then(|address| address.trusting(&options)).err().unwrap().to_string();
        assert!(error("nats://one").contains("say `tls:`"));
        for url in ["tls://one", "nats+tls://one"] {
            assert!(error(url).contains("`/none/ca.pem`, cannot be read"), "{url}");
        }
        assert!(Address::read("nats://one").unwrap().trusting(&BrokerOptions::default()).is_ok());
    }

    #[test]
    fn properties_are_judged_and_unknown_ones_are_named() {
        assert_eq!(with("max_age", "7d").unwrap().max_age, Duration::from_hours(7 * 24));
        assert_eq!(with("max_bytes", "1000").unwrap().max_bytes, Some(1000));
        assert_eq!(with("replicas", "3").unwrap().replicas, 3);
        assert_eq!(with("bucket", "mine").unwrap().bucket, "mine");
        for (name, value) in
            [("max_age", "x"), ("max_bytes", "0"), ("replicas", "6"), ("bucket", "a.b"), ("timeout", "")]
        {
            assert!(with(name, value).unwrap_err().contains(name), "{name}");
        }
        let error = with("linger.ms", "5").unwrap_err();
        assert!(error.contains("`linger.ms`") && error.contains("`duplicate_window`"), "{error}");
    }
}
