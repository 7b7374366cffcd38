//! A topic and key as one number, which is the same in every build and every process.

/// A topic and key, as a number: where two have the same one, they wait for one another.
pub(crate) type Lane = u64;

/// The lane of a message that has a key.
pub(crate) fn lane_of(topic: &str, key: Option<&str>) -> Option<Lane> {
    let key = key?;
    Some(fnv1a(topic.bytes().chain([0]).chain(key.bytes())))
}

/// FNV-1a, 64 bits. Its values are in databases and in the names of subjects: it stays.
pub(crate) fn fnv1a(bytes: impl IntoIterator<Item = u8>) -> u64 {
    let step = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, step)
}

#[cfg(test)]
mod tests {
    use super::{fnv1a, lane_of};

    #[test]
    fn it_is_what_its_reference_says() {
        let hash = |text: &str| fnv1a(text.bytes());
        assert_eq!(hash(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(hash("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(hash("foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn topic_and_key_are_told_apart() {
        assert_eq!(lane_of("t", None), None);
        assert_ne!(lane_of("ta", Some("b")), lane_of("t", Some("ab")));
    }
}
