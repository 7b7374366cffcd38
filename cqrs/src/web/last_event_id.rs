//! Where a client left off.

use ::axum::http::{HeaderMap, StatusCode};

use super::ProblemDetails;

const HEADER: &str = "last-event-id";

/// The id of the `end` event: a client that comes back with it has had everything.
pub(super) const END: &str = "end";

/// Where a client left off.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LastEventId {
    /// It comes for the first time.
    None,
    /// After an item.
    Item(u64),
    /// After the end.
    End,
    /// Nothing that we ever sent.
    Wrong,
}

/// Reads the header. Our ids are decimal numbers that fit an `i64`, without sign and leading zeros, and [`END`].
pub(super) fn read(headers: &HeaderMap) -> LastEventId {
    let mut values = headers.get_all(HEADER).iter();
    let Some(value) = values.next() else { return LastEventId::None };
    match (value.as_bytes(), values.next()) {
        (b"", None) => LastEventId::None,
        (bytes, None) => parse(bytes),
        (_, Some(_)) => LastEventId::Wrong,
    }
}

fn parse(bytes: &[u8]) -> LastEventId {
    if bytes == END.as_bytes() {
        return LastEventId::End;
    }
    let is_number = bytes.iter().all(u8::is_ascii_digit) && !matches!(bytes, [b'0', _, ..]);
    let number = std::str::from_utf8(bytes).ok().filter(|_| is_number).and_then(|text| text.parse::<i64>().ok());
    number.map_or(LastEventId::Wrong, |number| LastEventId::Item(number.unsigned_abs()))
}

/// What is told of an id that was never sent.
pub(super) fn refused() -> ProblemDetails {
    ProblemDetails::new(StatusCode::BAD_REQUEST).detail("`Last-Event-ID` is none of the ids that this stream gives")
}

#[cfg(test)]
mod tests {
    use super::{LastEventId, parse};

    #[test]
    fn reads_what_was_sent() {
        assert_eq!(parse(b"1"), LastEventId::Item(1));
        assert_eq!(parse(b"0"), LastEventId::Item(0));
        assert_eq!(parse(b"9223372036854775807"), LastEventId::Item(i64::MAX.unsigned_abs()));
        assert_eq!(parse(b"end"), LastEventId::End);
    }

    #[test]
    fn refuses_what_was_not() {
        let long = "9".repeat(100_000);
        let wrong: [&[u8]; 11] = [
            b"-1",
            b"+1",
            b" 1",
            b"01",
            b"1.0",
            b"0x10",
            b"END",
            b"1\0",
            b"9223372036854775808",
            b"\xff\xfe",
            long.as_bytes(),
        ];
        for bytes in wrong {
            assert_eq!(parse(bytes), LastEventId::Wrong, "{}", bytes.escape_ascii());
        }
    }
}
