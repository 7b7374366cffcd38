use std::time::Duration;

use super::{Address, Config, OURS};
use crate::broker::BrokerErrorKind;
use crate::broker::options::BrokerOptions;

fn refusal(url: &str, properties: &[(&str, &str)]) -> String {
    let properties = properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let options = BrokerOptions { properties, ..BrokerOptions::default() };
    let error = Config::new(url, &options).unwrap_err();
    assert_eq!(error.kind(), BrokerErrorKind::Configuration);
    error.to_string()
}

#[test]
fn a_url_names_hosts_login_and_security() {
    let address = Address::read("kafka://us%40er:p%3Aw:1@one:9092,two:9093?tls=true&sasl=scram-sha-512").unwrap();
    let login = Some(("us@er".to_owned(), "p:w:1".to_owned()));
    assert_eq!(address, Address { servers: "one:9092,two:9093".into(), login, tls: true, sasl: Some("SCRAM-SHA-512") });
    assert_eq!(Address::read("kafka://u:p@one").unwrap().sasl, Some("PLAIN"));
    let plain = Address { servers: "one:1".into(), login: None, tls: false, sasl: None };
    assert_eq!(Address::read("kafka://one:1/").unwrap(), plain);
}

#[test]
fn what_is_wrong_with_a_url_is_said() {
    for (url, word) in [
        ("kafka:one", "kafka://host:port"),
        ("kafka://", "names hosts"),
        ("kafka://one,,two", "names hosts"),
        ("kafka://one/topic", "names hosts"),
        ("kafka://one?sasl=plain", "user and a password"),
        ("kafka://u:p@one?sasl=gssapi", "scram-sha-512"),
        ("kafka://one?tls=yes", "`true` or `false`"),
        ("kafka://one?acks=1", ".property"),
    ] {
        let text = refusal(url, &[]);
        assert!(text.contains(word), "{url}: {text}");
    }
    let text = refusal("kafka://secret@one", &[]);
    assert!(text.contains("user:password") && !text.contains("secret"), "{text}");
}

#[test]
fn properties_are_judged_without_a_broker() {
    for name in OURS {
        assert_eq!(
            refusal("kafka://one", &[(name, "1")]),
            format!("`{name}` is not yours to set: the guarantees rest on it")
        );
    }
    assert!(refusal("kafka://one", &[("no.such.thing", "1")]).contains("no.such.thing"));
    assert!(refusal("kafka://one", &[("linger.ms", "soon")]).contains("linger.ms"));
    assert!(refusal("kafka://one", &[("message.timeout.ms", "0")]).contains("milliseconds"));
}

#[test]
fn what_the_guarantees_rest_on_is_set() {
    let config = Config::new("kafka://one", &BrokerOptions::default()).unwrap();
    let (producer, consumer) = (config.producer(), config.consumer("g"));
    for (name, value) in [("acks", "all"), ("enable.idempotence", "true"), ("enable.gapless.guarantee", "true")] {
        assert_eq!((producer.get(name), OURS.contains(&name)), (Some(value), true), "{name}");
    }
    for (name, value) in [
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        ("group.id", "g"),
        ("partition.assignment.strategy", "cooperative-sticky"),
    ] {
        assert_eq!((consumer.get(name), OURS.contains(&name)), (Some(value), true), "{name}");
    }
    for client in [producer, consumer, config.admin()] {
        assert_eq!(client.get("allow.auto.create.topics"), Some("false"));
    }
}

#[test]
fn what_the_user_sets_goes_first() {
    let properties = [("linger.ms", "7"), ("delivery.timeout.ms", "1500"), ("session.timeout.ms", "6000")];
    let properties = properties.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let config = Config::new("kafka://one", &BrokerOptions { properties, ..BrokerOptions::default() }).unwrap();
    let producer = config.producer();
    assert_eq!(producer.get("linger.ms"), Some("7"));
    assert_eq!((producer.get("acks"), producer.get("enable.idempotence")), (Some("all"), Some("true")));
    assert_eq!(producer.get("partitioner"), Some("murmur2_random"), "as Java's clients do it");
    assert_eq!(config.patience, Duration::from_millis(1500));
    assert_eq!(producer.get("message.timeout.ms"), Some("31500"), "our own clock is the one that counts");
    let consumer = config.consumer("g");
    assert_eq!(consumer.get("session.timeout.ms"), Some("6000"));
    assert_eq!(consumer.get("auto.offset.reset"), Some("earliest"));
}

#[test]
fn trust_without_tls_is_a_mistake() {
    let options = BrokerOptions { tls_ca: Some("ca.pem".into()), ..BrokerOptions::default() };
    assert!(Config::new("kafka://one", &options).unwrap_err().to_string().contains("?tls=true"));
    let text = Config::new("kafka://one?tls=true", &options).unwrap_err().to_string();
    let said = if cfg!(feature = "kafka-tls") { "ca.pem" } else { "kafka-tls" };
    assert!(text.contains(said), "{text}");
}
