//! How topics, groups and keys become names of NATS. Pure.
//!
//! A name keeps ASCII letters, digits, `-` and `_`; every other byte is `=` and two upper-case hexadecimal digits, so
//! that names can be read back. A subject keeps the dots of the topic that do not stand at an end or beside another. The
//! first character is written in digits too where NATS, or somebody who uses it, takes such names for its own: `_INBOX`,
//! `KV_bucket`, `OBJ_bucket`.

use crate::lane::fnv1a;

/// No stream gets a longer name: the server makes a directory of it.
const MAX_NAME: usize = 200;

/// Beginnings of names that are not ours.
const TAKEN: [&str; 3] = ["_", "KV_", "OBJ_"];

/// The name of a topic's stream. `None` where the topic is empty or too long to be one.
pub(super) fn stream(topic: &str) -> Option<String> {
    let name = token(topic);
    (!name.is_empty() && name.len() <= MAX_NAME).then_some(name)
}

/// The subject of a topic's slot: `orders.3`.
pub(super) fn subject(topic: &str, slot: u16) -> String {
    let bytes = topic.as_bytes();
    let is_inner = |at: usize| at > 0 && at + 1 < bytes.len() && bytes[at - 1] != b'.';
    let name = escape(topic, |at, byte| is_plain(byte) || byte == b'.' && is_inner(at));
    format!("{name}.{slot}")
}

/// A name within another: without dots.
pub(super) fn token(text: &str) -> String {
    escape(text, |_, byte| is_plain(byte))
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

fn escape(text: &str, keep: impl Fn(usize, u8) -> bool) -> String {
    let is_taken = TAKEN.iter().any(|taken| text.starts_with(taken));
    let mut escaped = String::with_capacity(text.len() + 8);
    for (at, byte) in text.bytes().enumerate() {
        if keep(at, byte) && !(at == 0 && is_taken) {
            escaped.push(char::from(byte));
        } else {
            push_byte(&mut escaped, byte);
        }
    }
    escaped
}

/// Writes a byte as `=` and two digits.
pub(super) fn push_byte(text: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    text.push('=');
    text.push(char::from(DIGITS[usize::from(byte >> 4)]));
    text.push(char::from(DIGITS[usize::from(byte & 15)]));
}

/// Reads back what was written with `=` and two digits, or with another mark in its place. `None` where it was not.
pub(super) fn unescape(text: &str, mark: u8) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        if byte == mark {
            let (digits, after) = after.split_at_checked(2)?;
            bytes.push(hex(digits[0])? << 4 | hex(digits[1])?);
            rest = after;
        } else {
            bytes.push(byte);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// The slot of a key: the 64-bit FNV-1a hash of its bytes, modulo the number of slots. It never changes: other publishers,
/// and other versions of this one, have to find the same.
pub(super) fn slot(key: &str, slots: u16) -> u16 {
    let slot = fnv1a(key.bytes()) % u64::from(slots.max(1));
    u16::try_from(slot).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{slot, stream, subject, token, unescape};

    const HOSTILE: [&str; 22] = [
        "orders",
        "shop.orders",
        "shop=2Eorders",
        ".",
        "..",
        "a.",
        ".a",
        "a..b",
        "*",
        ">",
        "a.>",
        "a b\t\r\n",
        "/etc/../passwd",
        "a\\b",
        "$JS.API.STREAM.CREATE.x",
        "$KV.cqrs.x",
        "KV_cqrs",
        "OBJ_x",
        "_INBOX.x",
        "straße, 鍵, 🦀",
        "\u{0}",
        "=",
    ];

    #[test]
    fn names_can_be_read_back_and_are_names_to_nats() {
        let (mut streams, mut subjects) = (HashSet::new(), HashSet::new());
        for topic in HOSTILE {
            let name = stream(topic).unwrap();
            assert_eq!(unescape(&name, b'=').as_deref(), Some(topic), "{name}");
            assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_=".contains(&byte)), "{name}");
            assert!(!name.starts_with('_') && !name.starts_with("KV_") && !name.starts_with("OBJ_"), "{name}");
            let subject = subject(topic, 3);
            assert_eq!(unescape(&subject, b'=').unwrap(), format!("{topic}.3"), "{subject}");
            assert!(subject.split('.').all(|token| !token.is_empty()), "{subject}");
            assert!(subject.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_=.".contains(&byte)), "{subject}");
            streams.insert(name);
            subjects.insert(subject);
        }
        assert_eq!((streams.len(), subjects.len()), (HOSTILE.len(), HOSTILE.len()));
    }

    #[test]
    fn what_can_be_kept_is_kept() {
        assert_eq!(subject("shop.orders_v1-x", 0), "shop.orders_v1-x.0");
        assert_eq!(stream("shop.orders").unwrap(), "shop=2Eorders");
        assert_eq!(token("KV_x"), "=4BV_x");
    }

    #[test]
    fn what_can_be_no_stream_is_none() {
        assert_eq!(stream(""), None);
        assert_eq!(stream(&"x".repeat(201)), None);
        assert!(stream(&"x".repeat(200)).is_some());
    }

    #[test]
    fn keys_have_the_same_slot_for_ever() {
        let slots = ["", "a", "foobar", "42", "straße"].map(|key| slot(key, 8));
        assert_eq!(slots, [5, 4, 0, 3, 0]);
        assert_eq!(slot("foobar", 1), 0);
        assert_eq!(slot("foobar", 7), u16::try_from(0x8594_4171_f739_67e8_u64 % 7).unwrap());
    }

    #[test]
    fn what_was_not_written_here_cannot_be_read() {
        for text in ["=", "=4", "=GG", "a=4", "=FF"] {
            assert_eq!(unescape(text, b'='), None, "{text}");
        }
    }
}
