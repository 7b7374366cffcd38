//! What a batch's results mean for the messages behind in their lanes. Pure: no I/O, no tasks.

use std::collections::HashSet;
use std::sync::Arc;

use super::{BrokerError, BrokerErrorKind, Delivery};

/// Topic and key: messages of one lane are published and handed out in order.
pub(super) type Lane<'a> = (&'a str, &'a str);

/// The same, for longer than its message.
pub(super) type KeptLane = Arc<(String, String)>;

/// The lane of a message, if it has a key.
pub(super) fn lane_of(delivery: &Delivery) -> Option<Lane<'_>> {
    Some((delivery.topic(), delivery.message_key()?))
}

/// The same, for longer than the message.
pub(super) fn kept_lane_of(delivery: &Delivery) -> Option<KeptLane> {
    lane_of(delivery).map(|(topic, key)| Arc::new((topic.to_owned(), key.to_owned())))
}

/// Kept lanes, as those of messages.
pub(super) fn borrowed(kept: &[Option<KeptLane>]) -> impl Iterator<Item = Option<Lane<'_>>> {
    kept.iter().map(|lane| lane.as_deref().map(|(topic, key)| (topic.as_str(), key.as_str())))
}

/// Fails every message that comes after a failed one of its lane: publishing it again after the earlier one is what
/// keeps the order.
pub(super) fn fail_followers<'a>(
    lanes: impl IntoIterator<Item = Option<Lane<'a>>>,
    results: &mut [Result<(), BrokerError>],
) {
    let mut failed = HashSet::new();
    for (lane, result) in lanes.into_iter().zip(results) {
        let Some(lane) = lane else { continue };
        if result.is_err() {
            failed.insert(lane);
        } else if failed.contains(&lane) {
            let what = format!("an earlier message of the key `{}` was not published", lane.1);
            *result = Err(BrokerError::new(BrokerErrorKind::Unavailable, what));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_a_failed_message_of_its_lane_fails_too() {
        let of = |topic: &str, key: &str| Delivery::new(topic, Vec::new()).key(key);
        let deliveries = [of("t", "a"), of("t", "b"), of("t", "a"), of("u", "a"), of("t", "b"), Delivery::new("t", "")];
        let refused = || Err(BrokerError::new(BrokerErrorKind::Refused, "no"));
        let mut results = vec![refused(), Ok(()), Ok(()), Ok(()), refused(), Ok(())];
        fail_followers(deliveries.iter().map(lane_of), &mut results);
        let kinds: Vec<_> = results.into_iter().map(|result| result.err().map(|error| error.kind())).collect();
        let (refused, unavailable) = (Some(BrokerErrorKind::Refused), Some(BrokerErrorKind::Unavailable));
        assert_eq!(kinds, [refused, None, unavailable, None, refused, None]);
    }
}
