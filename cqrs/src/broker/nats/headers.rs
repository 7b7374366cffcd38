//! How headers and the key travel. Pure.
//!
//! What is printable ASCII travels as it is. A value that is not, that begins or ends with a space, or that begins with
//! `=?`, is written as `=?` and its bytes, those that are not printable, and `=`, as `=` and two hexadecimal digits. A
//! name that NATS does not take, or that would mean something to it (`Nats-..`), is written as `Cqrs=` and its bytes in
//! the same way. The key travels as `Cqrs-Key`.

use std::collections::BTreeMap;

use async_nats::HeaderMap;

use super::name::{push_byte, unescape};

const KEY: &str = "Cqrs-Key";
const NAME_MARK: &str = "Cqrs=";
const VALUE_MARK: &str = "=?";
/// Names that begin so mean something, to the server or to us.
const RESERVED: [&str; 3] = ["nats-", "cqrs-key", "cqrs="];

/// Writes headers and the key.
pub(super) fn write(headers: &BTreeMap<String, String>, key: Option<&str>) -> HeaderMap {
    let mut written = HeaderMap::new();
    for (name, value) in headers {
        written.insert(write_name(name), write_value(value));
    }
    if let Some(key) = key {
        written.insert(KEY, write_value(key));
    }
    written
}

/// Reads headers and the key; the server's own headers are left out. Of a name that came more than once, the last counts.
pub(super) fn read(written: Option<&HeaderMap>) -> (BTreeMap<String, String>, Option<String>) {
    let headers = written.into_iter().flat_map(HeaderMap::iter);
    read_each(headers.filter_map(|(name, values)| Some((name.as_ref(), values.last()?.as_str()))))
}

/// Reads what can be read of headers that are stored and are none: lines behind the first. What is no text has signs for that.
pub(super) fn read_stored(stored: &[u8]) -> (BTreeMap<String, String>, Option<String>) {
    let text = String::from_utf8_lossy(stored);
    let lines = text.lines().skip(1).filter_map(|line| line.split_once(':'));
    read_each(lines.map(|(name, value)| (name, value.trim())))
}

fn read_each<'a>(written: impl Iterator<Item = (&'a str, &'a str)>) -> (BTreeMap<String, String>, Option<String>) {
    let (mut headers, mut key) = (BTreeMap::new(), None);
    for (name, value) in written {
        let value = read_value(value);
        if name.eq_ignore_ascii_case(KEY) {
            key = Some(value);
        } else if !begins(name, "nats-") {
            let read = name.strip_prefix(NAME_MARK).and_then(|rest| unescape(rest, b'='));
            headers.insert(read.unwrap_or_else(|| name.to_owned()), value);
        }
    }
    (headers, key)
}

/// How many bytes headers take on the wire.
pub(super) fn size(written: &HeaderMap) -> usize {
    const FRAME: usize = "NATS/1.0\r\n\r\n".len();
    const EACH: usize = ": \r\n".len();
    let each = written.iter().flat_map(|(name, values)| {
        let name: &str = name.as_ref();
        values.iter().map(move |value| name.len() + value.as_str().len() + EACH)
    });
    FRAME + each.sum::<usize>()
}

fn begins(name: &str, beginning: &str) -> bool {
    name.get(..beginning.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(beginning))
}

fn write_name(name: &str) -> String {
    let is_name = |byte: u8| byte.is_ascii_graphic() && byte != b':';
    if !name.is_empty() && name.bytes().all(is_name) && !RESERVED.iter().any(|reserved| begins(name, reserved)) {
        return name.to_owned();
    }
    escaped(NAME_MARK, name, |byte| is_name(byte) && byte != b'=')
}

fn write_value(value: &str) -> String {
    let is_plain = value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
        && !value.starts_with(' ')
        && !value.ends_with(' ')
        && !value.starts_with(VALUE_MARK);
    if is_plain {
        return value.to_owned();
    }
    escaped(VALUE_MARK, value, |byte| byte.is_ascii_graphic() && byte != b'=')
}

fn read_value(value: &str) -> String {
    let read = value.strip_prefix(VALUE_MARK).and_then(|rest| unescape(rest, b'='));
    read.unwrap_or_else(|| value.to_owned())
}

fn escaped(mark: &str, text: &str, keep: impl Fn(u8) -> bool) -> String {
    let mut escaped = String::from(mark);
    for byte in text.bytes() {
        if keep(byte) {
            escaped.push(char::from(byte));
        } else {
            push_byte(&mut escaped, byte);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use async_nats::HeaderMap;

    use super::{read, read_stored, size, write};

    #[test]
    fn whatever_is_written_can_be_read_and_carried() {
        let hostile = [
            "",
            " ",
            " a",
            "a ",
            "a b",
            "a\r\nNats-Rollup: all",
            "=?",
            "=?=41",
            "=41",
            "straße",
            "🦀",
            "\u{0}\u{7f}",
            "Nats-Msg-Id",
            "nats-expected-stream",
            "NATS-x",
            "Cqrs-Key",
            "cqrs-key",
            "Cqrs=",
            "Cqrs=41",
            "a:b",
            "é",
        ];
        let headers: BTreeMap<_, _> = hostile.iter().map(|text| ((*text).to_owned(), (*text).to_owned())).collect();
        for key in hostile {
            let written = write(&headers, Some(key));
            for (name, values) in written.iter() {
                let name: &str = name.as_ref();
                assert!(!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':'));
                assert!(!name.to_ascii_lowercase().starts_with("nats-"), "{name}");
                let value = values[0].as_str();
                assert_eq!(value.trim(), value);
                assert!(value.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{value}");
            }
            assert_eq!(read(Some(&written)), (headers.clone(), Some(key.to_owned())));
        }
        assert_eq!(read(Some(&write(&headers, None))), (headers, None));
    }

    #[test]
    fn what_is_plain_stays_as_it_is() {
        let headers = BTreeMap::from([("event_name".to_owned(), "order placed = 1".to_owned())]);
        let written = write(&headers, Some("42"));
        assert_eq!(written.get("event_name").unwrap().as_str(), "order placed = 1");
        assert_eq!(written.get("Cqrs-Key").unwrap().as_str(), "42");
        assert_eq!(size(&written), b"NATS/1.0\r\nevent_name: order placed = 1\r\nCqrs-Key: 42\r\n\r\n".len());
    }

    #[test]
    fn what_others_wrote_is_read_as_it_is() {
        let mut written = HeaderMap::new();
        written.insert("subject", "=?utf-8?Q?=C3=BC?=");
        written.append("twice", "one");
        written.append("twice", "two");
        written.insert("Nats-Msg-Id", "7");
        let (headers, key) = read(Some(&written));
        assert_eq!(headers["subject"], "=?utf-8?Q?=C3=BC?=");
        assert_eq!(headers["twice"], "two");
        assert_eq!((headers.len(), key), (2, None));
        assert_eq!(read(None), (BTreeMap::new(), None));
    }

    #[test]
    fn of_headers_that_are_none_what_can_be_read_is() {
        let stored =
            b"NATS/1.0 xyz\r\nnothing\r\na b: c : d \r\n: x\r\n\xff: \xfe\r\nNats-Msg-Id: 7\r\ncqrs-key: =?=41\r\n\r\n";
        let (headers, key) = read_stored(stored);
        let read: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(read, [("", "x"), ("a b", "c : d"), ("\u{fffd}", "\u{fffd}")]);
        assert_eq!(key.as_deref(), Some("A"));
        assert_eq!(read_stored(b""), (BTreeMap::new(), None));
    }
}
