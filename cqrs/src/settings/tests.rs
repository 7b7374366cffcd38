use std::num::NonZeroU16;
use std::path::Path;
use std::time::Duration;

use super::{Settings, SettingsError, SettingsErrorKind, keys};
use crate::breaker::{BreakerOptions, BreakerPolicy};
use crate::broker::Declare;
use crate::message::WireFormat;
use crate::registry::{OnDead, OnUnknown};
use crate::retry::RetryPolicy;
use crate::saga::{LimitsItem, Rate};
use crate::store::StoreOptions;
use crate::wire::Compression;
use crate::{Broker, Builder, Store};

fn with(file: &str, variables: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Settings::from_layers(Some(("cqrs.toml", file)), variables)
}

fn texts(error: &SettingsError) -> Vec<String> {
    error.problems().map(|(_, text)| text.to_owned()).collect()
}

const WHOLE: &str = r#"
store = "sqlite://shop.db"
store_prefix = "shop_"
store_schema = "ops"
store_notify = true
broker = "memory:"
broker_declare = "check"
broker_partitions = 16
broker_tls_ca = "ca.pem"
run = ["relay", "work", "timers", "group:billing"]
event_concurrency = 4
event_depth = 8
concurrency = 16
shutdown_timeout = "1m"
lease = "3s"
deadline = "90s"
payload_limit = "2MiB"
codec = "cloudevents"
compression = "zstd"
event_source = "/shop"
inbox_window = "1d"
idempotency_retention = "2d"
audit_retention = "3d"
saga_retention = "4d"
awaited_retention = "5d"
outbox_retention = "2d"
on_dead = "skip"
unknown = "dead"

[retry]
max = 7
first = "250ms"
factor = 3
ceiling = "1h"

[breaker]
failures = 3
open_for = "10s"
window = "1m"

[relay]
batch = 10
in_flight = 2
poll_first = "10ms"
poll_ceiling = "500ms"
retry = { first = "1s", factor = 1.5, ceiling = "10s" }

[group.billing]
concurrency = 2
on_dead = "skip"
unknown = "dead"
retry = { max = 1 }

[saga.order]
concurrency = 5
rate = "30/m"
"#;

#[test]
fn every_key_is_read() {
    let settings = with(WHOLE, &[]).unwrap();
    assert_eq!(settings.store.as_deref(), Some("sqlite://shop.db"));
    assert_eq!(settings.store_prefix.as_deref(), Some("shop_"));
    assert_eq!(settings.store_schema.as_deref(), Some("ops"));
    assert_eq!(settings.store_notify, Some(true));
    assert_eq!(settings.broker.as_deref(), Some("memory:"));
    assert_eq!((settings.broker_declare, settings.broker_partitions), (Some(Declare::Check), NonZeroU16::new(16)));
    assert_eq!(settings.broker_tls_ca.as_deref(), Some(Path::new("ca.pem")));
    assert_eq!(settings.run.as_deref().unwrap().last().unwrap(), "group:billing");
    assert_eq!((settings.event_concurrency, settings.event_depth, settings.concurrency), (Some(4), Some(8), Some(16)));
    assert_eq!(settings.shutdown_timeout, Some(Duration::from_mins(1)));
    assert_eq!(settings.lease, Some(Duration::from_secs(3)));
    assert_eq!(settings.deadline, Some(Duration::from_secs(90)));
    assert_eq!(settings.payload_limit, Some(2 << 20));
    assert_eq!((settings.codec, settings.compression), (Some(WireFormat::CloudEvents), Some(Compression::Zstd)));
    assert_eq!(settings.event_source.as_deref(), Some("/shop"));
    assert_eq!(settings.inbox_window, Some(Duration::from_hours(24)));
    assert_eq!(settings.idempotency_retention, Some(Duration::from_hours(48)));
    assert_eq!((settings.on_dead, settings.unknown), (Some(OnDead::Skip), Some(OnUnknown::Dead)));
    assert_eq!(settings.audit_retention, Some(Duration::from_hours(72)));
    assert_eq!(settings.saga_retention, Some(Duration::from_hours(96)));
    assert_eq!(settings.awaited_retention, Some(Duration::from_hours(120)));
    assert_eq!(settings.outbox_retention, Some(Duration::from_hours(48)));
    assert_eq!((settings.retry.max, settings.retry.factor), (Some(7), Some(3.0)));
    assert_eq!(
        settings.breaker,
        BreakerOptions::new(Some(3), Some(Duration::from_secs(10)), Some(Duration::from_mins(1)), None)
    );
    assert_eq!((settings.relay.batch, settings.relay.in_flight), (Some(10), Some(2)));
    assert_eq!(settings.relay.retry.ceiling, Some(Duration::from_secs(10)));
    let group = settings.groups["billing"];
    assert_eq!((group.concurrency, group.on_dead, group.unknown), (Some(2), Some(OnDead::Skip), Some(OnUnknown::Dead)));
    assert_eq!(group.retry.max, Some(1));
    assert_eq!(settings.sagas["order"], limits(Some(5), Some(30)));
}

/// So many at once, so many a minute.
fn limits(concurrency: Option<usize>, count: Option<usize>) -> LimitsItem {
    LimitsItem { concurrency, rate: count.map(|count| Rate { count, per: Duration::from_mins(1) }) }
}

/// What is read reaches the builder, key by key.
#[test]
fn every_key_is_applied() {
    let mut builder = Builder::linked(&[]);
    builder.options.event_depth = 1;
    with(WHOLE, &[("CQRS_RELAY__BATCH", "20")]).unwrap().apply(&mut builder);
    let (store, broker) = (builder.store.as_ref().unwrap(), builder.broker.as_ref().unwrap());
    assert_eq!((store.scheme(), broker.scheme()), ("sqlite", "memory"));
    assert_eq!(store.options, named("shop_", "ops", true));
    assert_eq!(said(broker), (Declare::Check, 16, Some("ca.pem".into())));
    let options = &builder.options;
    let wire = &options.wire;
    assert_eq!((wire.format, wire.compression), (WireFormat::CloudEvents, Compression::Zstd));
    assert_eq!(wire.source.as_deref(), Some("/shop"));
    let (secs, mins, hours) = (Duration::from_secs, Duration::from_mins, Duration::from_hours);
    assert_eq!((options.event_concurrency, options.stream_event_concurrency, options.event_depth), (4, 4, 8));
    assert_eq!((options.concurrency, options.payload_limit), (16, 2 << 20));
    assert_eq!((options.shutdown_timeout, options.lease, options.deadline), (mins(1), secs(3), secs(90)));
    assert_eq!((options.inbox_window, options.idempotency_retention), (hours(24), hours(48)));
    assert_eq!((options.on_dead, options.unknown), (OnDead::Skip, OnUnknown::Dead));
    assert_eq!(options.audit_retention, hours(72));
    assert_eq!([options.saga_retention, options.awaited_retention], [hours(96), hours(120)]);
    assert_eq!(options.outbox_retention, hours(48));
    let millis = Duration::from_millis;
    assert_eq!(
        options.retry,
        RetryPolicy { max: 7, first: millis(250), factor: 3.0, ceiling: hours(1), at_once: false }
    );
    assert_eq!(options.breaker, BreakerPolicy { failures: 3, open_for: secs(10), window: Some(mins(1)) });
    let relay = &options.relay;
    assert_eq!((relay.batch, relay.in_flight), (20, 2));
    assert_eq!((relay.poll_first, relay.poll_ceiling), (millis(10), millis(500)));
    let pauses = RetryPolicy { first: secs(1), factor: 1.5, ceiling: secs(10), ..RetryPolicy::OUTAGE };
    assert_eq!((relay.retry, options.relay_off), (pauses, false));
    assert_eq!(options.run.as_deref().unwrap(), ["relay", "work", "timers", "group:billing"]);
    let group = &options.groups["billing"];
    assert_eq!((group.concurrency, group.on_dead, group.unknown), (Some(2), Some(OnDead::Skip), Some(OnUnknown::Dead)));
    assert_eq!((group.retry.max, group.retry.first), (Some(1), None));
    assert_eq!(options.sagas["order"], limits(Some(5), Some(30)));

    // What is said later goes before, and what it leaves out stays.
    let later = "relay = 'off'\n[group.billing]\nconcurrency = 3\nretry = { first = '2s' }\n[retry]\nmax = 2\n[saga.order]\nrate = '1/m'";
    with(later, &[]).unwrap().apply(&mut builder);
    let options = &builder.options;
    assert_eq!((options.relay_off, options.relay.batch), (true, 20));
    assert_eq!((options.wire.format, options.wire.source.as_deref()), (WireFormat::CloudEvents, Some("/shop")));
    assert_eq!((options.retry.max, options.retry.first, options.lease), (2, millis(250), secs(3)));
    let group = &options.groups["billing"];
    assert_eq!((group.concurrency, group.retry.max, group.retry.first), (Some(3), Some(1), Some(secs(2))));
    assert_eq!(group.on_dead, Some(OnDead::Skip));
    assert_eq!(options.sagas["order"], limits(Some(5), Some(1)));
    with("relay = 'on'", &[]).unwrap().apply(&mut builder);
    assert!(!builder.options.relay_off);
}

/// What is said of a store beside its URL.
fn named(prefix: &str, schema: &str, notify: bool) -> StoreOptions {
    let (prefix, schema) = (Some(prefix.to_owned()), Some(schema.to_owned()));
    StoreOptions { prefix, schema, notify: Some(notify), ..StoreOptions::default() }
}

/// What holds for a broker beside its URL.
fn said(broker: &Broker) -> (Declare, u16, Option<String>) {
    let options = broker.options();
    (options.declare, options.partitions.get(), options.tls_ca.map(|file| file.display().to_string()))
}

fn partitions(count: u16) -> NonZeroU16 {
    NonZeroU16::new(count).unwrap()
}

/// In whichever order the two are said.
#[test]
fn what_is_said_beside_a_url_holds_for_a_store_and_a_broker_named_before_and_after() {
    let words = "store_prefix = 'shop_'\nstore_schema = 'ops'\nstore_notify = true\nbroker_declare = 'leave'\n\
                 broker_partitions = 4\nbroker_tls_ca = 'ca.pem'";
    let settings = || with(words, &[]).unwrap();
    let (store, broker) = (|| Store::url("memory:"), || Broker::url("memory:"));
    let before = Builder::linked(&[]).store(store()).broker(broker()).settings(settings());
    let after = Builder::linked(&[]).settings(settings()).store(store()).broker(broker());
    let by_others = with("store = 'memory:'\nbroker = 'memory:'", &[]).unwrap();
    let between = Builder::linked(&[]).settings(settings()).settings(by_others);
    for builder in [before, after, between] {
        assert_eq!(builder.store.as_ref().unwrap().options, named("shop_", "ops", true));
        assert_eq!(said(builder.broker.as_ref().unwrap()), (Declare::Leave, 4, Some("ca.pem".into())));
    }
}

#[test]
fn what_is_said_last_of_a_store_and_a_broker_goes_first() {
    let words = "store_prefix = 'shop_'\nstore_schema = 'ops'\nstore_notify = true\nbroker_declare = 'leave'\n\
                 broker_partitions = 4\nbroker_tls_ca = 'ca.pem'";
    let settings = || with(words, &[]).unwrap();
    let store = || Store::url("memory:").prefix("code_").schema("code").notify(false);
    let broker = || Broker::url("memory:").declare(Declare::Check).partitions(partitions(2)).tls_ca("code.pem");
    let builder = Builder::linked(&[]).settings(settings()).store(store()).broker(broker());
    assert_eq!(builder.store.as_ref().unwrap().options, named("code_", "code", false));
    assert_eq!(said(builder.broker.as_ref().unwrap()), (Declare::Check, 2, Some("code.pem".into())));
    let builder = builder.settings(settings());
    assert_eq!(builder.store.as_ref().unwrap().options, named("shop_", "ops", true));
    assert_eq!(said(builder.broker.as_ref().unwrap()), (Declare::Leave, 4, Some("ca.pem".into())));
    // What the second says nothing of stays as the first has it.
    let builder = builder.settings(with("store_notify = false\nbroker_partitions = 5", &[]).unwrap());
    assert_eq!(builder.store.as_ref().unwrap().options, named("shop_", "ops", false));
    assert_eq!(said(builder.broker.as_ref().unwrap()), (Declare::Leave, 5, Some("ca.pem".into())));
}

#[test]
fn a_broker_of_the_settings_takes_the_place_and_what_the_code_says_of_it_stays() {
    let moved = |from: Broker, settings: &str| {
        Builder::linked(&[]).broker(from).settings(with(settings, &[]).unwrap()).broker.unwrap()
    };
    let code = |url: &str| {
        let broker = Broker::url(url).declare(Declare::Check).partitions(partitions(16));
        broker.tls_ca("ca.pem").property("name", "value")
    };
    let broker = moved(code("devnull:"), "broker = 'memory:'");
    assert_eq!(broker.scheme(), "memory");
    assert_eq!(said(&broker), (Declare::Check, 16, Some("ca.pem".into())));
    assert!(broker.options().properties.is_empty(), "they are another library's");
    let broker = moved(code("memory:"), "broker = 'memory:'\nbroker_partitions = 3");
    assert_eq!(said(&broker), (Declare::Check, 3, Some("ca.pem".into())));
    assert_eq!(broker.options().properties, [("name".to_owned(), "value".to_owned())]);
}

/// One library speaks both.
#[cfg(feature = "amqp")]
#[test]
fn properties_stay_where_the_settings_ask_for_tls() {
    let code = Builder::linked(&[]).broker(Broker::url("amqp://one").property("mandatory", "false"));
    let builder = code.settings(with("broker = 'amqps://two'", &[]).unwrap());
    assert_eq!(builder.broker.unwrap().options().properties, [("mandatory".to_owned(), "false".to_owned())]);
}

#[test]
fn an_empty_file_says_nothing() {
    let settings = with("", &[]).unwrap();
    assert!(settings.store.is_none() && settings.lease.is_none() && settings.groups.is_empty());
}

#[test]
fn variables_win_and_step_into_tables() {
    let variables = [
        ("CQRS_STORE", "sqlite://other.db"),
        ("CQRS_GROUP__BILLING__CONCURRENCY", "9"),
        ("CQRS_GROUP__MAIL__ON_DEAD", "skip"),
        ("CQRS_RUN", "relay, group:mail"),
        ("CQRS_RELAY__BATCH", "20"),
        ("CQRS_LEASE", "4s"),
        ("CQRS_BROKER_DECLARE", "leave"),
        ("CQRS_BROKER_PARTITIONS", "4"),
        ("CQRS_BROKER_TLS_CA", "/etc/ca.pem"),
        ("CQRS_CODEC", "json"),
        ("CQRS_CONFIG", "elsewhere.toml"),
        ("PATH", "/bin"),
    ];
    let settings = with(WHOLE, &variables).unwrap();
    assert_eq!(settings.store.as_deref(), Some("sqlite://other.db"));
    let billing = settings.groups["billing"];
    assert_eq!((billing.concurrency, billing.on_dead), (Some(9), Some(OnDead::Skip)), "the file's words stay");
    assert_eq!(settings.groups["mail"].on_dead, Some(OnDead::Skip));
    assert_eq!(settings.run.unwrap(), ["relay", "group:mail"]);
    assert_eq!((settings.relay.batch, settings.relay.in_flight), (Some(20), Some(2)));
    assert_eq!(settings.lease, Some(Duration::from_secs(4)));
    assert_eq!((settings.broker_declare, settings.broker_partitions), (Some(Declare::Leave), NonZeroU16::new(4)));
    assert_eq!(settings.broker_tls_ca.as_deref(), Some(Path::new("/etc/ca.pem")));
    assert_eq!((settings.codec, settings.compression), (Some(WireFormat::Json), Some(Compression::Zstd)));
}

#[test]
fn the_relay_can_be_switched_off() {
    assert_eq!(with("relay = 'off'", &[]).unwrap().relay.on, Some(false));
    assert_eq!(with("", &[("CQRS_RELAY", "off")]).unwrap().relay.on, Some(false));
    assert_eq!(with("relay = 'on'", &[]).unwrap().relay.on, Some(true));
    assert_eq!(with("relay = 'perhaps'", &[]).unwrap_err().kind(), SettingsErrorKind::BadValue);
}

#[test]
fn an_unknown_key_is_named_with_its_place_and_the_nearest_one() {
    let error = with("[group.billing]\nconcurency = 1", &[("CQRS_LEESE", "5s"), ("CQRS_FOO__BAR", "1")]).unwrap_err();
    assert_eq!(error.kind(), SettingsErrorKind::UnknownKey);
    let texts = texts(&error);
    assert!(texts[0].starts_with("unknown key `foo` in the variable CQRS_FOO__BAR; the keys here are `store`, "));
    assert_eq!(texts[1], "unknown key `group.billing.concurency` in cqrs.toml; did you mean `concurrency`?");
    assert_eq!(texts[2], "unknown key `leese` in the variable CQRS_LEESE; did you mean `lease`?");
}

#[test]
fn every_bad_value_is_named_with_its_place_and_what_was_expected() {
    let error = with("lease = 5\n[retry]\nmax = 0", &[("CQRS_EVENT_DEPTH", "deep")]).unwrap_err();
    assert_eq!(error.kind(), SettingsErrorKind::BadValue);
    assert_eq!(
        error.to_string(),
        "3 settings are wrong:\
         \n  `event_depth` in the variable CQRS_EVENT_DEPTH is wrong: expected a whole number, at least 1\
         \n  `lease` in cqrs.toml is wrong: expected a duration of at least \"100ms\", such as \"5s\"\
         \n  `retry.max` in cqrs.toml is wrong: expected a whole number, at least 1"
    );
}

#[test]
fn values_that_no_key_can_take_are_refused() {
    let wrong = [
        "store = 5",
        "store = 'shop.db'",
        "store_prefix = 5",
        "store_schema = ['ops']",
        "store_notify = 'perhaps'",
        "broker = 'memory'",
        "broker_declare = 'make'",
        "broker_declare = true",
        "broker_partitions = 0",
        "broker_partitions = 65536",
        "broker_partitions = -1",
        "broker_partitions = 'many'",
        "broker_tls_ca = ''",
        "broker_tls_ca = ['ca.pem']",
        "run = []",
        "run = ['relya']",
        "run = ['group:']",
        "run = ['retries:']",
        "event_concurrency = 0",
        "event_concurrency = -1",
        "event_depth = 5000000000",
        "shutdown_timeout = 'soon'",
        "lease = '0s'",
        "lease = '99ms'",
        "deadline = '0s'",
        "deadline = '99ms'",
        "idempotency_retention = '0s'",
        "payload_limit = 0",
        "payload_limit = '1 parsec'",
        "payload_limit = '99999999999999999999GiB'",
        "codec = 'protobuf'",
        "codec = 1",
        "compression = 'gzip'",
        "compression = true",
        "event_source = ''",
        "event_source = 5",
        "retry = 5",
        "breaker.failures = 0",
        "breaker.open_for = '0s'",
        "retry.factor = 0.5",
        "retry.factor = inf",
        "retry.first = 1",
        "relay.retry.first = '0s'",
        "group = 1",
        "saga = 1",
        "saga.order = 1",
        "saga.order.concurrency = 0",
        "saga.order.rate = 5",
        "saga.order.rate = '0/s'",
        "saga.order.rate = '5/d'",
        "saga.order.rate = '100001/s'",
        "group.billing = 1",
        "group.billing.on_dead = 'dead'",
        "group.billing.unknown = 'park'",
    ];
    for text in wrong {
        let error = with(text, &[]).map(|_| ()).expect_err(text);
        assert_eq!(error.kind(), SettingsErrorKind::BadValue, "{text}: {error}");
        let key = text.split(" =").next().unwrap();
        assert!(error.to_string().starts_with(&format!("`{key}` in cqrs.toml")), "{error}");
    }
}

#[test]
fn the_shortest_lease_and_deadline_are_taken() {
    let settings = with("lease = '100ms'\ndeadline = '100ms'", &[]).unwrap();
    assert_eq!((settings.lease, settings.deadline), (Some(crate::app::SHORTEST), Some(crate::app::SHORTEST)));
}

#[test]
fn a_text_that_is_no_toml_says_where() {
    let error = with("lease = = 5", &[]).unwrap_err();
    assert_eq!(error.kind(), SettingsErrorKind::Syntax);
    assert!(error.to_string().contains("line 1"), "{error}");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let error = super::read(Path::new("no/such/file.toml")).unwrap_err();
    assert_eq!(error.kind(), SettingsErrorKind::Unreadable);
    assert!(error.to_string().contains("no/such/file.toml"));
}

#[test]
fn no_password_is_shown() {
    let settings = with("store = 'postgres://user:secret@host/db'", &[]).unwrap();
    assert!(!format!("{settings:?}").contains("secret"));
    let error = with("store = ['postgres://user:secret@host/db']", &[]).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("secret"));
}

#[test]
fn every_key_is_in_the_documentation() {
    let text = include_str!("mod.rs");
    for key in keys::SETTINGS {
        let name = key.name();
        assert!(text.contains(&format!("`{name}`")) || text.contains(&format!("`{name}.NAME`")), "{name}");
    }
}
