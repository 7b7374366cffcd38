//! NATS: headers are bytes that the server does not look at, and its own client refuses to write: they are written here.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;

use cqrs_tests::services;

use super::{Bad, step};

/// The server stores 64 KiB of headers.
const LONGEST: usize = 60_000;

/// What stands before the last line, which is empty.
const HEADERS: [(&str, &[u8]); 7] = [
    ("a name that is no text", b"NATS/1.0\r\n\xff\xfe: x\r\n"),
    ("a line that is no header", b"NATS/1.0\r\nnothing\r\n"),
    ("a name with a space", b"NATS/1.0\r\na b: x\r\n"),
    ("another version", b"NATS/2.0\r\na: b\r\n"),
    ("the server's word that it is alive", b"NATS/1.0 100 Idle Heartbeat\r\n"),
    ("the server's word that nothing came", b"NATS/1.0 408 Request Timeout\r\n"),
    ("an answer that is none", b"NATS/1.0 xyz\r\n"),
];

pub async fn publish(topic: &str, all: Vec<Bad>) -> usize {
    let mut messages: Vec<_> = all.into_iter().map(|bad| (head(&bad), bad.payload.unwrap_or_default())).collect();
    messages.extend(HEADERS.map(|(what, head)| (head.to_vec(), step(what))));
    messages.push((Vec::new(), step("nothing said about it")));
    let mut server = TcpStream::connect(services::nats_url().trim_start_matches("nats://")).unwrap();
    server.write_all(b"CONNECT {\"verbose\":false,\"headers\":true}\r\n").unwrap();
    for (number, (mut head, body)) in messages.iter().cloned().enumerate() {
        if !head.is_empty() {
            head.extend(b"\r\n");
        }
        let subject = format!("{topic}.{}", number % 4);
        let line = match head.len() {
            0 => format!("PUB {subject} {}\r\n", body.len()),
            length => format!("HPUB {subject} {length} {}\r\n", length + body.len()),
        };
        server.write_all(&[line.as_bytes(), &head, &body, b"\r\n"].concat()).unwrap();
    }
    server.write_all(b"PING\r\n").unwrap();
    let answered =
        BufReader::new(&server).lines().map(Result::unwrap).find(|line| line != "PING" && !line.starts_with("INFO"));
    assert_eq!(answered.as_deref(), Some("PONG"));
    messages.len()
}

/// As it was meant, with whatever that does to the lines.
fn head(bad: &Bad) -> Vec<u8> {
    let key = bad.key.as_ref().map(|key| ("Cqrs-Key", key.as_slice()));
    let headers = bad.headers.iter().map(|(name, value)| (*name, value.as_deref().unwrap_or_default()));
    headers.chain(key).fold(b"NATS/1.0\r\n".to_vec(), |head, (name, value)| {
        [&head, name.as_bytes(), b": ", &value[..value.len().min(LONGEST)], b"\r\n"].concat()
    })
}
