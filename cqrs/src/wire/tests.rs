//! Reading and writing, and what is refused.

use uuid::Uuid;

use super::*;

const LIMIT: usize = 1 << 20;

#[test]
fn a_body_without_headers_is_read() {
    let body = br#"{"payload":{"id":7},"event_id":"018f2b1e-0000-7000-8000-000000000001","event_timestamp":"2026-11-23T21:55:07.368794","event_name":"user_joined","topic":"t"}"#;
    let delivery = Delivery::new("t", body.to_vec());
    let read = read(&delivery, SystemTime::now(), LIMIT).unwrap();
    assert_eq!((read.name.as_str(), read.version, &*read.payload), ("user_joined", 1, &br#"{"id":7}"#[..]));
    let seconds = read.time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    assert_eq!(seconds, 1_795_470_907, "a naive timestamp is UTC");
}

#[test]
fn an_offset_is_honoured() {
    let time = parse_time("2026-11-23T22:55:07+01:00").unwrap();
    assert_eq!(time, parse_time("2026-11-23T21:55:07Z").unwrap());
}

#[test]
fn rubbish_is_an_error_that_says_what_is_missing() {
    let now = SystemTime::now();
    let body = |text: &str| read(&Delivery::new("t", text.as_bytes()), now, LIMIT).unwrap_err().to_string();
    assert!(body("\u{1}").contains("not a notification event's JSON"));
    assert!(body(r#"{"payload":1}"#).contains("`event_name`"));
    assert!(body(r#"{"payload":1,"event_name":"x"}"#).contains("`event_id`"));
    let headed = Delivery::new("t", r#"{"payload":1,"event_name":"x"}"#).header(EVENT_ID, "no");
    assert!(read(&headed, now, LIMIT).unwrap_err().to_string().contains("is not a UUID: `no`"));
    let timed = |time: &str| {
        let body = format!(r#"{{"payload":1,"event_name":"x","event_id":"{}","event_timestamp":{time}}}"#, Uuid::nil());
        read(&Delivery::new("t", body), now, LIMIT).map(Received::into_owned)
    };
    let error = timed(r#""yesterday""#).unwrap_err().to_string();
    assert!(error.contains("`event_timestamp` is no time of RFC 3339: `yesterday`"), "{error}");
    assert_eq!(timed("null").unwrap().time, now, "what says no time has come just now");
}

#[test]
fn a_header_is_found_however_it_is_spelled() {
    let headers = |name: &str| [(name.to_owned(), "application/x-protobuf; charset=x".to_owned())].into();
    for name in ["content-type", "Content-Type", "content_type", "CONTENT_TYPE"] {
        assert_eq!(payload_of(&headers(name)), Payload::Protobuf, "{name}");
    }
    assert_eq!(payload_of(&headers("contenttype")), Payload::Json);
    assert!(without_encoding(&[("Content_Encoding".to_owned(), "zstd".to_owned())].into()).is_empty());
}

#[test]
fn a_payload_is_read_where_it_lies() {
    let id = "018f2b1e-0000-7000-8000-000000000001";
    let envelope = Delivery::new("t", format!(r#"{{"payload":{{"id":7}},"event_id":"{id}","event_name":"e"}}"#));
    let bare = Delivery::new("t", [8, 7]).header(EVENT_ID, id).header(EVENT_NAME, "e");
    for delivery in [envelope, bare.header(CONTENT_TYPE, "application/protobuf")] {
        let read = read(&delivery, SystemTime::now(), LIMIT).unwrap();
        assert!(delivery.payload().as_ptr_range().contains(&read.payload.as_ptr()), "{read:?}");
    }
}

#[test]
fn a_body_in_camel_case_with_a_bare_uuid_is_read() {
    let body = br#"{"eventName":"user_joined","payload":{"userId":7},"eventId":"0a28c2bd00007000800000000000000f","eventTimestamp":"2026-11-23T21:55:07.368794","topic":"t"}"#;
    let delivery = Delivery::new("t", body.to_vec());
    let read = read(&delivery, SystemTime::now(), LIMIT).unwrap();
    assert_eq!((read.name.as_str(), &*read.payload), ("user_joined", &br#"{"userId":7}"#[..]));
    assert_eq!(read.id.to_string(), "0a28c2bd-0000-7000-8000-00000000000f");
    let seconds = read.time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    assert_eq!(seconds, 1_795_470_907);
}

#[test]
fn the_id_of_a_payload_as_it_is_may_have_the_name_that_python_cqrs_gives_it() {
    let id = "018f2b1e-0000-7000-8000-000000000001";
    let bare = Delivery::new("t", [8, 7]).header(CONTENT_TYPE, "application/x-protobuf").header(EVENT_NAME, "counted");
    let read = |delivery: Delivery| read(&delivery, SystemTime::now(), LIMIT).map(Received::into_owned);
    let theirs = read(bare.clone().header(MESSAGE_ID, id)).unwrap();
    assert_eq!((theirs.id.to_string().as_str(), &*theirs.payload), (id, &[8, 7][..]));
    let both = read(bare.clone().header(MESSAGE_ID, "no").header(EVENT_ID, id)).unwrap();
    assert_eq!(both.id.to_string(), id, "our own name counts");
    assert!(read(bare.header(MESSAGE_ID, "no")).unwrap_err().to_string().contains("`message_id` is not a UUID: `no`"));
}
