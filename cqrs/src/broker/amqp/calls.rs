//! The calls that wait for the server's answers about their messages. Pure: no I/O, no tasks.

use std::collections::HashMap;

use tokio::sync::oneshot;

use super::fault::Fault;
use crate::broker::BrokerError;
use crate::broker::driver::Outgoing;
use crate::broker::lanes::{KeptLane, borrowed, fail_followers, kept_lane_of};

pub(super) type Results = Vec<Result<(), BrokerError>>;

/// A batch, and who waits for its results.
pub(super) struct Request {
    pub(super) batch: Vec<Outgoing>,
    pub(super) reply: oneshot::Sender<Results>,
}

impl Request {
    /// Gives every message the same error.
    pub(super) fn refuse(self, fault: &Fault) {
        // Who has stopped waiting is not told.
        let _ = self.reply.send(self.batch.iter().map(|_| Err(fault.clone().into())).collect());
    }
}

/// A message of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    call: u64,
    at: usize,
}

struct Call {
    lanes: Vec<Option<KeptLane>>,
    results: Vec<Option<Result<(), Fault>>>,
    open: usize,
    reply: oneshot::Sender<Results>,
}

#[derive(Default)]
pub(super) struct Calls {
    calls: HashMap<u64, Call>,
    last: u64,
}

impl Calls {
    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Begins a call. Gives its messages, each with its place.
    pub(super) fn begin(&mut self, request: Request) -> Vec<(Place, Outgoing)> {
        let Request { batch, reply } = request;
        self.last += 1;
        let call = self.last;
        let lanes = batch.iter().map(|outgoing| kept_lane_of(&outgoing.delivery)).collect();
        let results = batch.iter().map(|_| None).collect();
        self.calls.insert(call, Call { lanes, results, open: batch.len(), reply });
        if batch.is_empty() {
            self.finish(call);
        }
        batch.into_iter().enumerate().map(|(at, outgoing)| (Place { call, at }, outgoing)).collect()
    }

    /// Notes how a message ended. With the last one the call ends.
    pub(super) fn end(&mut self, place: Place, result: Result<(), Fault>) {
        let Some(call) = self.calls.get_mut(&place.call) else { return };
        if call.results[place.at].replace(result).is_none() {
            call.open -= 1;
        }
        if call.open == 0 {
            self.finish(place.call);
        }
    }

    fn finish(&mut self, call: u64) {
        let Some(Call { lanes, results, reply, .. }) = self.calls.remove(&call) else { return };
        let results = results.into_iter().map(|result| result.unwrap_or_else(|| Err(Fault::closed())));
        let mut results: Results = results.map(|result| result.map_err(BrokerError::from)).collect();
        fail_followers(borrowed(&lanes), &mut results);
        // Who has stopped waiting is not told; the message is published again, with the same id.
        let _ = reply.send(results);
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;
    use uuid::Uuid;

    use super::{Calls, Request};
    use crate::broker::amqp::fault::Fault;
    use crate::broker::driver::Outgoing;
    use crate::broker::{BrokerErrorKind, Delivery};

    #[test]
    fn a_call_ends_with_its_last_answer_and_what_follows_a_failed_message_of_its_key_has_failed() {
        let delivery = |key: Option<&str>| {
            let plain = Delivery::new("orders", b"{}".to_vec());
            key.map_or(plain.clone(), |key| plain.key(key))
        };
        let keys = [Some("a"), Some("b"), Some("a"), None, Some("a")];
        let batch = keys.map(|key| Outgoing { id: Uuid::now_v7(), delivery: delivery(key) }).to_vec();
        let (reply, mut answer) = oneshot::channel();
        let mut calls = Calls::default();
        let places: Vec<_> = calls.begin(Request { batch, reply }).into_iter().map(|(place, _)| place).collect();
        let nack = || Err(Fault::new(BrokerErrorKind::Refused, "no"));
        for (at, result) in [(4, Ok(())), (0, Ok(())), (2, nack()), (3, Ok(()))] {
            calls.end(places[at], result);
            assert!(answer.try_recv().is_err(), "the call ended with {at}");
        }
        calls.end(places[1], Ok(()));
        let kinds: Vec<_> =
            answer.try_recv().unwrap().into_iter().map(|result| result.err().map(|error| error.kind())).collect();
        assert_eq!(kinds, [None, None, Some(BrokerErrorKind::Refused), None, Some(BrokerErrorKind::Unavailable)]);
        assert!(calls.is_empty());
    }

    #[test]
    fn an_empty_call_ends_at_once() {
        let (reply, mut answer) = oneshot::channel();
        assert!(Calls::default().begin(Request { batch: Vec::new(), reply }).is_empty());
        assert!(answer.try_recv().unwrap().is_empty());
    }
}
