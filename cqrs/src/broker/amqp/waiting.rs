//! Batches that wait for the channels of their topics, while others go on. Pure: no I/O, no tasks.

use std::collections::{HashSet, VecDeque};

use super::calls::Request;

struct Batch {
    request: Request,
    /// Its topics that have no channel yet.
    missing: HashSet<String>,
}

impl Batch {
    fn topics(&self) -> impl Iterator<Item = &str> {
        self.request.batch.iter().map(|outgoing| outgoing.delivery.topic())
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct Waiting(VecDeque<Batch>);

impl Waiting {
    /// Takes in a batch that waits for topics, or for none. Gives the batches that can go now.
    pub(super) fn push(&mut self, request: Request, missing: HashSet<String>) -> Vec<Request> {
        self.0.push_back(Batch { request, missing });
        self.free()
    }

    /// A topic has its channel, or it is known why it has none. Gives the batches that can go now, in their order.
    pub(super) fn opened(&mut self, topic: &str) -> Vec<Request> {
        for batch in &mut self.0 {
            batch.missing.remove(topic);
        }
        self.free()
    }

    /// Gives up waiting.
    pub(super) fn take_all(&mut self) -> Vec<Request> {
        self.0.drain(..).map(|batch| batch.request).collect()
    }

    /// What waits for nothing, and shares no topic with an earlier batch that does: that goes first.
    fn free(&mut self) -> Vec<Request> {
        let (mut free, mut left, mut taken) = (Vec::new(), VecDeque::new(), HashSet::new());
        for batch in self.0.drain(..) {
            if batch.missing.is_empty() && batch.topics().all(|topic| !taken.contains(topic)) {
                free.push(batch.request);
            } else {
                taken.extend(batch.topics().map(str::to_owned));
                left.push_back(batch);
            }
        }
        self.0 = left;
        free
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;
    use uuid::Uuid;

    use super::*;
    use crate::broker::Delivery;
    use crate::broker::driver::Outgoing;

    fn request(topics: &[&str]) -> Request {
        let outgoing = |topic: &&str| Outgoing { id: Uuid::now_v7(), delivery: Delivery::new(*topic, Vec::new()) };
        Request { batch: topics.iter().map(outgoing).collect(), reply: oneshot::channel().0 }
    }

    fn missing(topics: &[&str]) -> HashSet<String> {
        topics.iter().map(|topic| (*topic).to_owned()).collect()
    }

    fn first_topics(requests: &[Request]) -> Vec<&str> {
        requests.iter().map(|request| request.batch[0].delivery.topic()).collect()
    }

    #[test]
    fn a_topic_that_opens_slowly_holds_up_its_own_batches_and_no_others() {
        let mut waiting = Waiting::default();
        assert!(waiting.push(request(&["slow", "a"]), missing(&["slow"])).is_empty());
        assert_eq!(first_topics(&waiting.push(request(&["b"]), missing(&[]))), ["b"]);
        assert!(
            waiting.push(request(&["a", "c"]), missing(&[])).is_empty(),
            "it is behind a batch of a topic of its own"
        );
        assert!(waiting.push(request(&["c"]), missing(&[])).is_empty(), "it is behind that one");
        assert!(waiting.opened("other").is_empty());
        assert_eq!(first_topics(&waiting.opened("slow")), ["slow", "a", "c"]);
        assert!(waiting.push(request(&["d"]), missing(&["d"])).is_empty());
        assert_eq!(first_topics(&waiting.take_all()), ["d"]);
        assert!(waiting.take_all().is_empty());
    }
}
