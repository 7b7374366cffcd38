//! Which messages share a transaction. Pure: no I/O, no tasks.
//!
//! What has arrived waits in a [`Queue`], and batches are cut off its front. A lane is a topic and a key: while messages of
//! one are in a batch, the later ones of it wait, whatever other batches there are.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

/// A topic and a key: its messages are handled in order.
pub(super) type Lane = Arc<(String, String)>;

/// Messages that have arrived and not begun.
#[derive(Debug)]
pub(super) struct Queue<T> {
    waiting: VecDeque<(Option<Lane>, T)>,
    /// The lanes that have messages in a batch.
    busy: HashSet<Lane>,
}

impl<T> Queue<T> {
    pub(super) fn new() -> Self {
        Self { waiting: VecDeque::new(), busy: HashSet::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes in a message, the latest so far.
    pub(super) fn push(&mut self, lane: Option<Lane>, item: T) {
        self.waiting.push_back((lane, item));
    }

    /// Whether any message could begin.
    pub(super) fn has_free(&self) -> bool {
        self.waiting.iter().any(|(lane, _)| self.is_free(lane.as_ref()))
    }

    /// Whether so many could begin.
    pub(super) fn has_free_of(&self, count: usize) -> bool {
        self.waiting.iter().filter(|(lane, _)| self.is_free(lane.as_ref())).take(count).count() == count
    }

    fn is_free(&self, lane: Option<&Lane>) -> bool {
        lane.is_none_or(|lane| !self.busy.contains(lane))
    }

    /// Cuts a batch off what may begin. With so many turns left, this one's included, it is this one's share, so that few
    /// messages are handled at once and many together; but `least` where there are so many, and at most `most`.
    ///
    /// It takes the lanes with the oldest messages, and of each as many as there is room for: were it to take the oldest
    /// message of every lane, nothing could be handled beside it.
    pub(super) fn cut(&mut self, turns: usize, least: usize, most: usize) -> Vec<(Option<Lane>, T)> {
        let free: usize = self.waiting.iter().filter(|(lane, _)| self.is_free(lane.as_ref())).count();
        let size = free.div_ceil(turns.max(1)).max(least.min(free)).min(most);
        let lanes = self.oldest_lanes(size);
        let (mut batch, mut rest) = (Vec::with_capacity(size), VecDeque::with_capacity(self.waiting.len()));
        for (lane, item) in self.waiting.drain(..) {
            if batch.len() < size && lane.as_ref().is_none_or(|lane| lanes.contains(lane)) {
                batch.push((lane, item));
            } else {
                rest.push_back((lane, item));
            }
        }
        self.waiting = rest;
        self.busy.extend(batch.iter().filter_map(|(lane, _)| lane.clone()));
        batch
    }

    /// The free lanes that so many messages come from, by their oldest.
    fn oldest_lanes(&self, size: usize) -> HashSet<Lane> {
        let mut lengths: HashMap<&Lane, usize> = HashMap::new();
        for (lane, _) in &self.waiting {
            if let Some(lane) = lane.as_ref().filter(|lane| self.is_free(Some(lane))) {
                *lengths.entry(lane).or_default() += 1;
            }
        }
        let (mut lanes, mut found) = (HashSet::new(), 0);
        for (lane, _) in &self.waiting {
            if found >= size {
                break;
            }
            match lane {
                None => found += 1,
                Some(lane) => {
                    if let Some(length) = lengths.remove(lane) {
                        found += length;
                        lanes.insert(Arc::clone(lane));
                    }
                }
            }
        }
        lanes
    }

    /// Ends a batch: its lanes are free. What it has not begun goes back to the front.
    pub(super) fn end(&mut self, lanes: &[Option<Lane>], left: Vec<(Option<Lane>, T)>) {
        for lane in lanes.iter().flatten() {
            self.busy.remove(lane);
        }
        for (lane, item) in left.into_iter().rev() {
            self.waiting.push_front((lane, item));
        }
    }

    /// Takes out what waits in a lane: an earlier message of it goes back to the broker, and so do these.
    pub(super) fn withdraw(&mut self, lane: &Lane) -> Vec<T> {
        let (of_lane, rest): (Vec<_>, Vec<_>) =
            self.waiting.drain(..).partition(|(other, _)| other.as_ref() == Some(lane));
        self.waiting = rest.into();
        of_lane.into_iter().map(|(_, item)| item).collect()
    }

    /// Takes out what could begin, to be handed back: what is behind a batch of its lane only when that has ended.
    pub(super) fn take_free(&mut self) -> Vec<T> {
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        let (free, rest): (Vec<_>, Vec<_>) = waiting.partition(|(lane, _)| self.is_free(lane.as_ref()));
        self.waiting = rest.into();
        free.into_iter().map(|(_, item)| item).collect()
    }
}

/// How a message of a batch is handled, in the order in which that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    /// Its handlers take no transaction: they run before it begins, and keep nobody from writing.
    Before,
    /// Its handlers run in the batch's transaction.
    Within,
    /// In a transaction of its own, after the others.
    Alone,
}

/// How each message of a batch is handled, by what its handlers need: one that would come before an earlier one of its lane
/// is handled alone, after it.
pub(super) fn arrange(batch: &[(Option<Lane>, Way)]) -> Vec<Way> {
    let mut latest = HashMap::new();
    let arranged = batch.iter().map(|(lane, way)| {
        let Some(lane) = lane else { return *way };
        let earlier = latest.get(lane).copied().unwrap_or(Way::Before);
        let way = if earlier > *way { Way::Alone } else { *way };
        latest.insert(lane, way);
        way
    });
    arranged.collect()
}

/// How far a batch has to be redone one by one, whatever time that takes: up to the message that spoiled it, so that it
/// spoils no other one. Where it was none of them, one will do: the rest may be batched again.
pub(super) fn redone_at_least(spoiled_by: Option<usize>) -> usize {
    spoiled_by.map_or(1, |at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(key: &str) -> Option<Lane> {
        (!key.is_empty()).then(|| Arc::new(("t".to_owned(), key.to_owned())))
    }

    /// A queue of messages named by their key and number; without a key where the name begins with a number.
    fn queue(names: &[&'static str]) -> Queue<&'static str> {
        let mut queue = Queue::new();
        for name in names {
            queue.push(lane(name.trim_end_matches(|c: char| c.is_ascii_digit())), *name);
        }
        queue
    }

    fn cut(queue: &mut Queue<&'static str>, turns: usize, most: usize) -> (Vec<Option<Lane>>, Vec<&'static str>) {
        queue.cut(turns, 1, most).into_iter().unzip()
    }

    #[test]
    fn a_batch_is_a_share_of_what_may_begin() {
        // Messages, turns, the most of a batch: how large the batches are.
        let table: [(usize, usize, usize, &[usize]); 9] = [
            (0, 8, 100, &[0]),
            (1, 8, 100, &[1]),
            (8, 8, 100, &[1; 8]),
            (9, 8, 100, &[2, 1, 1, 1, 1, 1, 1, 1]),
            (800, 8, 100, &[100; 8]),
            (2000, 8, 100, &[100; 8]),
            (10, 1, 100, &[10]),
            (10, 1, 1, &[1]),
            (10, 0, 4, &[4]),
        ];
        for (messages, turns, most, sizes) in table {
            let mut queue = Queue::new();
            (0..messages).for_each(|number| queue.push(None, number));
            let mut next = 0;
            for (taken, size) in sizes.iter().enumerate() {
                let batch = queue.cut(turns - taken.min(turns), 1, most);
                assert_eq!(batch.len(), *size, "{messages} messages, {turns} turns, at most {most}");
                for (_, number) in batch {
                    assert_eq!(number, next, "the oldest first");
                    next += 1;
                }
            }
        }
    }

    #[test]
    fn a_batch_is_more_than_its_share_where_that_is_little() {
        // Messages, the least and the most of a batch.
        for (messages, least, most, size) in [(10, 4, 100, 4), (3, 4, 100, 3), (100, 4, 100, 13), (10, 9, 5, 5)] {
            let mut queue = Queue::new();
            (0..messages).for_each(|number| queue.push(None, number));
            assert!(queue.has_free_of(messages) && !queue.has_free_of(messages + 1));
            assert_eq!(queue.cut(8, least, most).len(), size, "{messages} messages, at least {least}");
        }
    }

    #[test]
    fn a_lane_is_in_one_batch_at_a_time_and_in_order() {
        let mut queue = queue(&["a1", "a2", "b1", "1", "a3", "b2", "2"]);
        let (first, names) = cut(&mut queue, 1, 2);
        assert_eq!(names, ["a1", "a2"]);
        let (second, names) = cut(&mut queue, 1, 2);
        assert_eq!(names, ["b1", "1"], "a3 waits for its lane");
        assert_eq!(cut(&mut queue, 1, 100).1, ["2"]);
        assert!(!queue.has_free() && cut(&mut queue, 1, 100).1.is_empty());
        queue.end(&second, Vec::new());
        assert_eq!(cut(&mut queue, 1, 100).1, ["b2"]);
        queue.end(&first, Vec::new());
        assert_eq!(cut(&mut queue, 1, 100).1, ["a3"]);
        assert!(queue.is_empty());
    }

    #[test]
    fn batches_beside_each_other_have_lanes_of_their_own() {
        let mut queue = queue(&["a1", "b1", "c1", "d1", "a2", "b2", "c2", "d2"]);
        assert_eq!(cut(&mut queue, 2, 100).1, ["a1", "b1", "a2", "b2"]);
        assert_eq!(cut(&mut queue, 1, 100).1, ["c1", "d1", "c2", "d2"]);
    }

    /// The same key of another topic is another lane.
    #[test]
    fn a_lane_is_a_topic_and_a_key() {
        let mut queue = Queue::new();
        for topic in ["t", "u"] {
            queue.push(Some(Arc::new((topic.to_owned(), "a".to_owned()))), topic);
        }
        assert_eq!((cut(&mut queue, 2, 9).1, cut(&mut queue, 1, 9).1), (vec!["t"], vec!["u"]));
    }

    #[test]
    fn what_a_batch_leaves_goes_before_what_came_later() {
        let mut queue = queue(&["a1", "b1", "a2"]);
        let batch = queue.cut(1, 1, 3);
        queue.push(lane("a"), "a3");
        let lanes: Vec<_> = batch.iter().map(|(lane, _)| lane.clone()).collect();
        queue.end(&lanes, batch.into_iter().skip(1).collect());
        assert_eq!(cut(&mut queue, 1, 9).1, ["b1", "a2", "a3"]);
    }

    #[test]
    fn what_waits_in_a_lane_can_be_withdrawn() {
        let mut queue = queue(&["a1", "b1", "a2", "1"]);
        assert_eq!(queue.withdraw(&lane("a").unwrap()), ["a1", "a2"]);
        assert_eq!((queue.len(), queue.take_free()), (2, vec!["b1", "1"]));
    }

    #[test]
    fn what_is_behind_a_batch_is_not_handed_back_before_it() {
        let mut queue = queue(&["a1", "a2", "b1"]);
        let (batch, names) = cut(&mut queue, 1, 1);
        assert_eq!((names, queue.take_free()), (vec!["a1"], vec!["b1"]));
        queue.end(&batch, Vec::new());
        assert_eq!((queue.take_free(), queue.is_empty()), (vec!["a2"], true));
    }

    #[test]
    fn nothing_is_handled_before_an_earlier_message_of_its_lane() {
        use Way::{Alone, Before, Within};
        type Case = (&'static [(&'static str, Way)], &'static [Way]);
        // Lanes, what their handlers need, and how they are handled.
        let table: [Case; 7] = [
            (&[], &[]),
            (&[("a", Before), ("a", Within), ("a", Alone)], &[Before, Within, Alone]),
            (&[("a", Within), ("a", Before), ("a", Within)], &[Within, Alone, Alone]),
            (&[("a", Alone), ("a", Within), ("b", Within)], &[Alone, Alone, Within]),
            (&[("a", Within), ("b", Before)], &[Within, Before]),
            (&[("", Alone), ("", Within), ("", Before)], &[Alone, Within, Before]),
            (&[("a", Within), ("a", Within)], &[Within, Within]),
        ];
        for (batch, ways) in table {
            let batch: Vec<_> = batch.iter().map(|(key, way)| (lane(key), *way)).collect();
            assert_eq!(arrange(&batch), ways, "{batch:?}");
        }
    }

    #[test]
    fn a_batch_is_redone_at_least_up_to_what_spoiled_it() {
        assert_eq!([None, Some(0), Some(7)].map(redone_at_least), [1, 1, 8]);
    }
}
