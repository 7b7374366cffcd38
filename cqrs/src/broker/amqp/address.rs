//! Where the server is, and how it is connected to.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use lapin::tcp::OwnedTLSConfig;
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Connection, ConnectionProperties};

use super::fault::Fault;
use super::socket;
use crate::broker::options::BrokerOptions;
use crate::broker::{BrokerError, BrokerErrorKind};

/// Seconds between heartbeats, where the URL says nothing: a server that hangs is noticed after two.
const HEARTBEAT: u16 = 10;
/// How long connecting may take, where the URL says nothing.
const CONNECT_MILLIS: u64 = 10_000;

/// A server, its virtual host, and who we are there.
#[derive(Clone)]
pub(super) struct Address {
    uri: AMQPUri,
    tls: Option<String>,
}

impl Address {
    /// Reads a URL and what was said beside it.
    pub(super) fn parse(url: &str, options: &BrokerOptions) -> Result<Self, BrokerError> {
        let configuration = |what: String| BrokerError::new(BrokerErrorKind::Configuration, what);
        // Not the URL itself: it may hold a password.
        let mut uri: AMQPUri = url.parse().map_err(|error: String| {
            configuration(format!(
                "the broker's URL is none: {error}; it has the form `amqp://user:password@host:port/vhost`"
            ))
        })?;
        if let Some(host) = ipv6(url) {
            host.clone_into(&mut uri.authority.host);
        }
        // The virtual host without a name is one that nobody makes; `amqp://host/` means what `amqp://host` means.
        if uri.vhost.is_empty() {
            "/".clone_into(&mut uri.vhost);
        }
        uri.query.heartbeat.get_or_insert(HEARTBEAT);
        uri.query.connection_timeout.get_or_insert(CONNECT_MILLIS);
        if options.tls_ca.is_some() && uri.scheme != AMQPScheme::AMQPS {
            let what =
                "`tls_ca` is said, but the broker's URL begins with `amqp:`, which is not encrypted: say `amqps:`";
            return Err(configuration(what.to_owned()));
        }
        let tls = options.tls_ca.as_deref().map(read_pem).transpose()?;
        Ok(Self { uri, tls })
    }

    /// Connects. What the connection is for is its name on the server.
    pub(super) async fn connect(&self, purpose: &str) -> Result<Connection, Fault> {
        let properties = ConnectionProperties::default().with_connection_name(format!("cqrs {purpose}").into());
        let tls = OwnedTLSConfig { identity: None, cert_chain: self.tls.clone() };
        let connecting = socket::connect(self.uri.clone(), properties, tls);
        // The library's own limit is for the socket; a server that hangs takes the socket and says nothing.
        let limit = Duration::from_millis(self.uri.query.connection_timeout.unwrap_or(CONNECT_MILLIS));
        match tokio::time::timeout(limit, connecting).await {
            Ok(connected) => connected.map_err(|error| self.fault(error)),
            Err(_) => Err(Fault::new(
                BrokerErrorKind::Unavailable,
                format!("{} did not answer within {limit:?}", self.name()),
            )),
        }
    }

    fn fault(&self, error: lapin::Error) -> Fault {
        Fault::of(format!("{} cannot be connected to", self.name()), error)
    }

    /// Who is asked for what, without the password.
    fn name(&self) -> String {
        let authority = &self.uri.authority;
        format!(
            "{}://{}@{}:{}, virtual host `{}`,",
            self.uri.scheme, authority.userinfo.username, authority.host, authority.port, self.uri.vhost
        )
    }
}

/// Without the password.
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

/// The library takes no address in brackets, and would go to its own machine.
fn ipv6(url: &str) -> Option<&str> {
    let authority = url.split_once("://")?.1.split(['/', '?']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    Some(host.strip_prefix('[')?.split_once(']')?.0)
}

fn read_pem(file: &Path) -> Result<String, BrokerError> {
    std::fs::read_to_string(file).map_err(|error| {
        let what = format!("the certificates of `tls_ca`, `{}`, cannot be read", file.display());
        BrokerError::new(BrokerErrorKind::Configuration, what).with_source(error)
    })
}

#[cfg(test)]
mod tests {
    use super::Address;
    use crate::broker::options::BrokerOptions;

    fn parse(url: &str) -> Result<Address, String> {
        Address::parse(url, &BrokerOptions::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_url_names_host_port_user_and_virtual_host() {
        let address = parse("amqp://ann:p%40w@rabbit:5673/sales%2Feu").unwrap();
        assert_eq!(address.name(), "amqp://ann@rabbit:5673, virtual host `sales/eu`,");
        assert_eq!(address.uri.authority.userinfo.password, "p@w");
        for url in ["amqp://rabbit", "amqp://rabbit/", "amqp://rabbit/%2f"] {
            assert_eq!(parse(url).unwrap().name(), "amqp://guest@rabbit:5672, virtual host `/`,", "{url}");
        }
        assert_eq!(parse("amqps://rabbit").unwrap().uri.authority.port, 5671);
        assert_eq!(parse("amqp://a:b@[::1]:5673/v").unwrap().name(), "amqp://a@::1:5673, virtual host `v`,");
    }

    #[test]
    fn a_url_that_is_none_is_refused_without_its_password() {
        let error = parse("amqp://ann:secret@rabbit:port/").err().unwrap();
        assert!(error.starts_with("the broker's URL is none: "), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn certificates_are_for_an_encrypted_connection_and_must_be_there() {
        let options = BrokerOptions { tls_ca: Some("/none/ca.pem".into()), ..BrokerOptions::default() };
        let error = |url| Address::parse(url, &options).err().unwrap().to_string();
        assert!(error("amqp://rabbit").contains("say `amqps:`"));
        assert!(error("amqps://rabbit").contains("`/none/ca.pem`, cannot be read"));
    }
}
