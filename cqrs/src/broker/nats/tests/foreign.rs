//! What others put on a topic, and the library cannot read.

use std::sync::Arc;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use super::server::Server;
use super::{Declare, Driver, broker, message, options, subscription, take};
use crate::broker::nats::name;

/// Publishes to a subject with headers as they stand there, past every library.
async fn publish(server: &Server, subject: &str, headers: &[u8], text: &str) {
    let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", server.port())).await.unwrap());
    let head = [b"NATS/1.0\r\n", headers, b"\r\n\r\n"].concat();
    let connect = "CONNECT {\"verbose\":false,\"headers\":true}\r\n";
    let publish = format!("HPUB {subject} {} {}\r\n", head.len(), head.len() + text.len());
    let sent = [connect.as_bytes(), publish.as_bytes(), &head, text.as_bytes(), b"\r\nPING\r\n"].concat();
    stream.write_all(&sent).await.unwrap();
    let mut line = String::new();
    while line != "PONG\r\n" {
        line.clear();
        assert!(stream.read_line(&mut line).await.unwrap() > 0 && !line.starts_with("-ERR"), "{line}");
    }
}

/// Publishes until it is stored, once.
async fn store(driver: &Arc<dyn Driver>, key: &str, text: &str) {
    let message = message("t", Some(key), text);
    while driver.publish(vec![message.clone()]).await[0].is_err() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn g11_headers_that_the_library_cannot_read_hold_up_nobody() {
    let server = Server::start().await;
    let driver = broker(&server.url(), options(Declare::Create));
    let slots = options(Declare::Create).partitions.get();
    let (same, other) = ("a", "b");
    assert_ne!(name::slot(same, slots), name::slot(other, slots));
    let subject = name::subject("t", name::slot(same, slots));
    let mut consumer = driver.subscribe(subscription("g", "t", 10)).await.unwrap();
    store(&driver, same, "1").await;
    let bad: [&[u8]; 4] = [b"bytes: \xff\xfe", b"\xff: x", b"no header", b"a name: x"];
    for (headers, text) in bad.into_iter().zip(["2", "3", "4", "5"]) {
        publish(&server, &subject, headers, text).await;
    }
    store(&driver, same, "6").await;
    store(&driver, other, "other").await;
    let mut taken = take(&mut consumer, 7).await;
    taken.retain(|text| text != "other");
    assert_eq!(taken, ["1", "2", "3", "4", "5", "6"], "in order");
    consumer.close().await;
    publish(&server, &subject, b"\xff: x", "7").await;
    let mut consumer = driver.subscribe(subscription("g", "t", 10)).await.unwrap();
    assert_eq!(take(&mut consumer, 1).await, ["7"], "also where a member begins with it");
    driver.close().await;
}
