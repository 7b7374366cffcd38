//! Servers that are down, that refuse, or that speak TLS.

use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::timeout;

use super::server::Server;
use super::{BrokerErrorKind, BrokerOptions, Declare, broker, message, options, subscription, take, with};

#[tokio::test(flavor = "multi_thread")]
async fn publishing_to_a_server_that_is_down_fails_soon_and_goes_on_later() {
    let server = Server::start().await;
    let driver = broker(&server.url(), with("timeout", "1s"));
    assert!(driver.publish(vec![message("t", Some("a"), "1")]).await[0].is_ok());
    server.down();
    let batch: Vec<_> = (2..100).map(|n: u32| message("t", Some("a"), &n.to_string())).collect();
    let results = timeout(Duration::from_secs(10), driver.publish(batch.clone())).await.expect("it does not hang");
    assert!(results.iter().all(|result| result.as_ref().unwrap_err().kind() == BrokerErrorKind::Unavailable));
    server.up().await;
    let mut left = batch;
    while !left.is_empty() {
        let results = driver.publish(left.clone()).await;
        left = left.into_iter().zip(results).filter_map(|(message, result)| result.err().map(|_| message)).collect();
    }
    let mut consumer = driver.subscribe(subscription("g", "t", 10)).await.unwrap();
    let expected: Vec<_> = (1..100).map(|n: u32| n.to_string()).collect();
    assert_eq!(take(&mut consumer, 99).await, expected, "once, and in order");
    driver.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_waits_for_a_server_that_is_down_at_its_start() {
    let server = Server::start().await;
    server.down();
    let driver = broker(&server.url(), with("timeout", "1s"));
    let subscribed = timeout(Duration::from_secs(10), driver.subscribe(subscription("g", "t", 10))).await;
    let mut consumer = subscribed.expect("it does not hang").unwrap();
    let results = timeout(Duration::from_secs(10), driver.publish(vec![message("t", None, "1")])).await.unwrap();
    assert_eq!(results[0].as_ref().unwrap_err().kind(), BrokerErrorKind::Unavailable);
    server.up().await;
    while driver.publish(vec![message("t", None, "1")]).await[0].is_err() {}
    assert_eq!(take(&mut consumer, 1).await, ["1"]);
    driver.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_settled_while_the_server_was_down_is_written_down_later() {
    let server = Server::start().await;
    let driver = broker(&server.url(), with("timeout", "1s"));
    let mut consumer = driver.subscribe(subscription("g", "t", 10)).await.unwrap();
    let batch = (0..5).map(|n: u32| message("t", Some("a"), &n.to_string())).collect();
    assert!(driver.publish(batch).await.iter().all(Result::is_ok));
    let held = timeout(Duration::from_secs(10), consumer.receive(1)).await.unwrap().unwrap();
    server.down();
    tokio::time::sleep(Duration::from_secs(1)).await;
    consumer.settle(vec![(held[0].receipt, super::Settlement::Done)]).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.up().await;
    // The next one is not settled: nothing but the beat brings the position to the server.
    let next = timeout(Duration::from_secs(20), consumer.receive(1)).await.unwrap().unwrap();
    assert_eq!(next[0].delivery.payload(), b"1");
    tokio::time::sleep(Duration::from_secs(3)).await;
    // Killed, so to speak: the process is gone without leaving.
    std::mem::forget(consumer);
    let other = broker(&server.url(), options(Declare::Create));
    let mut second = other.subscribe(subscription("other", "t", 10)).await.unwrap();
    assert_eq!(take(&mut second, 5).await.len(), 5);
    let client = async_nats::connect(server.url()).await.unwrap();
    let store = async_nats::jetstream::new(client).get_key_value("cqrs").await.unwrap();
    let slot = crate::broker::nats::name::slot("a", 8);
    let record = store.get(format!("g.t.{slot}")).await.unwrap().unwrap();
    let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
    assert_eq!(record["position"], 1, "{record}");
    driver.close().await;
    other.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_wrong_is_an_error_of_configuration() {
    let server = Server::with(&["--user", "me", "--pass", "p@ss"]).await;
    let at = |login: &str| format!("nats://{login}127.0.0.1:{}", server.port());
    for login in ["", "me:wrong@", "token@"] {
        let driver = broker(&at(login), options(Declare::Create));
        let error = driver.subscribe(subscription("g", "t", 1)).await.unwrap_err();
        assert_eq!(error.kind(), BrokerErrorKind::Configuration, "{error:?}");
        assert!(!format!("{error:?}").contains("wrong@"), "no password in an error");
        let error = driver.publish(vec![message("t", None, "1")]).await.remove(0).unwrap_err();
        assert_eq!(error.kind(), BrokerErrorKind::Configuration, "{error:?}");
    }
    let driver = broker(&at("me:p%40ss@"), options(Declare::Create));
    assert!(driver.publish(vec![message("t", None, "1")]).await[0].is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_spoken_where_the_url_or_the_server_asks_for_it() {
    let keys = TempDir::new().unwrap();
    let path = |name: &str| keys.path().join(name).to_str().unwrap().to_owned();
    let (certificate, key) = (path("cert.pem"), path("key.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout", &key, "-out", &certificate])
        .output();
    assert!(made.expect("`openssl` is on the path").status.success());
    let server = Server::with(&["--tls", "--tlscert", &certificate, "--tlskey", &key]).await;
    let url = format!("tls://127.0.0.1:{}", server.port());
    let trusting = BrokerOptions { tls_ca: Some(certificate.clone().into()), ..BrokerOptions::default() };
    let driver = broker(&url, trusting);
    let results = driver.publish(vec![message("t", None, "1")]).await;
    assert!(results[0].is_ok(), "{results:?}");
    let stranger = broker(&url, options(Declare::Create));
    let error = stranger.publish(vec![message("t", None, "2")]).await.remove(0).unwrap_err();
    assert_ne!(error.kind(), BrokerErrorKind::Refused, "{error:?}");
    let mut consumer = driver.subscribe(subscription("g", "t", 10)).await.unwrap();
    assert_eq!(take(&mut consumer, 1).await, ["1"]);
    // A server that speaks none does not get what was meant for one that does.
    let plain = Server::start().await;
    let driver = broker(&format!("tls://127.0.0.1:{}", plain.port()), with("timeout", "1s"));
    assert!(driver.publish(vec![message("t", None, "3")]).await[0].is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_broker_takes_nothing() {
    let server = Server::start().await;
    let driver = broker(&server.url(), options(Declare::Create));
    let mut consumer = driver.subscribe(subscription("g", "t", 10)).await.unwrap();
    driver.close().await;
    let error = driver.publish(vec![message("t", None, "1")]).await.remove(0).unwrap_err();
    assert_eq!(error.kind(), BrokerErrorKind::Closed);
    assert_eq!(driver.subscribe(subscription("g", "t", 1)).await.unwrap_err().kind(), BrokerErrorKind::Closed);
    assert_eq!(consumer.receive(1).await.unwrap_err().kind(), BrokerErrorKind::Closed);
    assert_eq!(consumer.settle(Vec::new()).await.unwrap_err().kind(), BrokerErrorKind::Closed);
}
