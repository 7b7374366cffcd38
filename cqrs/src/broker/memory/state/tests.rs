use std::collections::{BTreeMap, HashMap, HashSet};

use uuid::Uuid;

use super::{Limits, Published, State};
use crate::broker::Delivery;
use crate::broker::driver::{Incoming, Outgoing, Receipt, Settlement, Subscription};
use crate::broker::memory::group::{MemberId, Number};

const WIDE: Limits = Limits { messages: 1_000_000, bytes: usize::MAX };

fn outgoing(topic: &str, key: Option<&str>, text: &str) -> Outgoing {
    let delivery = Delivery::new(topic, text.as_bytes().to_vec());
    let delivery = if let Some(key) = key { delivery.key(key) } else { delivery };
    Outgoing { id: Uuid::now_v7(), delivery }
}

fn join(state: &mut State, group: &str, topics: &[&str], prefetch: usize) -> MemberId {
    let topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
    state.subscribe(Subscription { group: group.to_owned(), topics, prefetch }).unwrap()
}

fn publish(state: &mut State, topic: &str, key: Option<&str>, text: &str) -> Number {
    match state.publish(outgoing(topic, key, text)) {
        Published::Waiting(number) => number,
        other => panic!("{other:?}"),
    }
}

fn texts(incoming: &[Incoming]) -> Vec<&str> {
    incoming.iter().map(|incoming| std::str::from_utf8(incoming.delivery.payload()).unwrap()).collect()
}

fn all(incoming: &[Incoming], how: Settlement) -> Vec<(Receipt, Settlement)> {
    incoming.iter().map(|incoming| (incoming.receipt, how)).collect()
}

#[test]
fn without_a_group_a_message_is_confirmed_at_once() {
    let mut state = State::new(WIDE);
    join(&mut state, "billing", &["orders"], 10);
    assert!(matches!(state.publish(outgoing("parcels", None, "a")), Published::Confirmed));
    assert!(state.is_empty());
}

#[test]
fn a_message_is_confirmed_when_every_group_is_done_with_it() {
    let mut state = State::new(WIDE);
    let billing = join(&mut state, "billing", &["orders"], 10);
    let shipping = join(&mut state, "shipping", &["orders", "parcels"], 10);
    let number = publish(&mut state, "orders", None, "a");
    let (first, second) = (state.take(billing, 10), state.take(shipping, 10));
    assert_eq!((texts(&first), texts(&second)), (vec!["a"], vec!["a"]));
    assert!(state.settle(billing, &all(&first, Settlement::Done)).is_empty());
    assert_eq!(state.settle(shipping, &all(&second, Settlement::Done)), [number]);
    assert!(state.is_empty());
}

#[test]
fn members_of_a_group_share_and_keep_the_order_of_a_key() {
    let mut state = State::new(WIDE);
    let (one, two) = (join(&mut state, "g", &["t"], 10), join(&mut state, "g", &["t"], 10));
    for text in ["a1", "a2"] {
        publish(&mut state, "t", Some("a"), text);
    }
    publish(&mut state, "t", Some("b"), "b1");
    publish(&mut state, "t", None, "x");
    let first = state.take(one, 1);
    let second = state.take(two, 10);
    assert_eq!((texts(&first), texts(&second)), (vec!["a1"], vec!["b1", "x"]));
    assert!(state.take(one, 10).is_empty(), "a2 waits for a1");
    state.settle(one, &all(&first, Settlement::Done));
    assert_eq!(texts(&state.take(two, 10)), ["a2"]);
}

#[test]
fn keys_of_different_topics_are_different_lanes() {
    let mut state = State::new(WIDE);
    let member = join(&mut state, "g", &["t", "u"], 10);
    publish(&mut state, "t", Some("a"), "t1");
    publish(&mut state, "u", Some("a"), "u1");
    assert_eq!(texts(&state.take(member, 10)), ["t1", "u1"]);
}

#[test]
fn prefetch_bounds_what_is_out() {
    let mut state = State::new(WIDE);
    let member = join(&mut state, "g", &["t"], 2);
    for text in ["1", "2", "3"] {
        publish(&mut state, "t", None, text);
    }
    let taken = state.take(member, 10);
    assert_eq!(texts(&taken), ["1", "2"]);
    assert!(state.take(member, 10).is_empty());
    state.settle(member, &all(&taken[..1], Settlement::Done));
    assert_eq!(texts(&state.take(member, 10)), ["3"]);
}

#[test]
fn a_prefetch_of_zero_still_moves() {
    let mut state = State::new(WIDE);
    let member = join(&mut state, "g", &["t"], 0);
    publish(&mut state, "t", None, "1");
    assert_eq!(texts(&state.take(member, 10)), ["1"]);
}

#[test]
fn what_is_returned_comes_before_the_later_ones_of_its_key() {
    let mut state = State::new(WIDE);
    let member = join(&mut state, "g", &["t"], 10);
    for text in ["a1", "a2"] {
        publish(&mut state, "t", Some("a"), text);
    }
    let taken = state.take(member, 10);
    assert!(state.settle(member, &all(&taken, Settlement::Return)).is_empty());
    let again = state.take(member, 10);
    assert_eq!(texts(&again), ["a1"]);
    assert!(state.settle(member, &all(&taken, Settlement::Done)).is_empty(), "the old receipt is worth nothing");
    assert_eq!(state.settle(member, &all(&again, Settlement::Done)).len(), 1);
}

#[test]
fn what_a_member_held_goes_to_the_others_or_to_the_next_one() {
    let mut state = State::new(WIDE);
    let (one, two) = (join(&mut state, "g", &["t"], 10), join(&mut state, "g", &["t"], 10));
    publish(&mut state, "t", Some("a"), "a1");
    let taken = state.take(one, 10);
    state.leave(one);
    assert!(state.settle(one, &all(&taken, Settlement::Done)).is_empty(), "who has left settles nothing");
    assert_eq!(texts(&state.take(two, 10)), ["a1"]);
    state.leave(two);
    publish(&mut state, "t", Some("a"), "a2");
    let three = join(&mut state, "g", &["t"], 10);
    assert_eq!(texts(&state.take(three, 10)), ["a1"]);
}

#[test]
fn nobody_settles_what_another_member_holds() {
    let mut state = State::new(WIDE);
    let (one, two) = (join(&mut state, "g", &["t"], 10), join(&mut state, "g", &["t"], 10));
    publish(&mut state, "t", None, "1");
    let taken = state.take(one, 10);
    assert!(state.settle(two, &all(&taken, Settlement::Done)).is_empty());
    assert_eq!(state.settle(one, &all(&taken, Settlement::Done)).len(), 1);
}

#[test]
fn a_message_in_flight_is_not_delivered_twice_when_it_is_published_again() {
    let mut state = State::new(WIDE);
    let member = join(&mut state, "g", &["t"], 10);
    let message = outgoing("t", None, "1");
    let Published::Waiting(first) = state.publish(message.clone()) else { panic!() };
    let Published::Waiting(second) = state.publish(message.clone()) else { panic!() };
    assert_eq!(first, second);
    let taken = state.take(member, 10);
    assert_eq!(taken.len(), 1);
    assert_eq!(state.settle(member, &all(&taken, Settlement::Done)), [first]);
    assert!(matches!(state.publish(message), Published::Waiting(third) if third != first));
}

#[test]
fn a_full_topic_holds_up_no_other() {
    let mut state = State::new(Limits { messages: 2, bytes: 1000 });
    let member = join(&mut state, "g", &["t", "u"], 1);
    publish(&mut state, "t", None, "1");
    publish(&mut state, "t", None, "2");
    assert!(matches!(state.publish(outgoing("t", None, "3")), Published::Full(_)));
    publish(&mut state, "u", None, "4");
    let taken = state.take(member, 1);
    state.settle(member, &all(&taken, Settlement::Done));
    publish(&mut state, "t", None, "3");
}

#[test]
fn bytes_are_bounded_too_but_one_message_always_fits() {
    let mut state = State::new(Limits { messages: 100, bytes: 10 });
    let member = join(&mut state, "g", &["t"], 10);
    publish(&mut state, "t", None, "more than ten bytes");
    assert!(matches!(state.publish(outgoing("t", None, "1")), Published::Full(_)));
    let taken = state.take(member, 10);
    state.settle(member, &all(&taken, Settlement::Done));
    publish(&mut state, "t", None, "12345");
    publish(&mut state, "t", None, "67890");
    assert!(matches!(state.publish(outgoing("t", None, "1")), Published::Full(_)));
}

#[test]
fn a_closed_broker_takes_nothing() {
    let mut state = State::new(WIDE);
    let member = join(&mut state, "g", &["t"], 10);
    publish(&mut state, "t", None, "1");
    state.close();
    assert!(matches!(state.publish(outgoing("t", None, "2")), Published::Closed));
    assert!(state.take(member, 10).is_empty());
    assert!(state.subscribe(Subscription { group: "g".into(), topics: vec![], prefetch: 1 }).is_none());
    assert!(state.is_closed() && state.is_empty());
}

/// A generator of its own (splitmix64), so that a failing seed can be run again on any machine.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(bound).unwrap()).unwrap()
    }
}

/// What the random runs know beside the state: who holds what, and what each group has finished, in order.
struct Run {
    state: State,
    chance: Chance,
    prefetch: usize,
    groups: Vec<(String, Vec<&'static str>)>,
    members: Vec<(usize, MemberId, Vec<Incoming>)>,
    finished: Vec<Vec<String>>,
    published: Vec<(Number, Outgoing)>,
    confirmed: HashSet<Number>,
}

const TOPICS: [&str; 3] = ["t", "u", "v"];

impl Run {
    fn new(seed: u64) -> Self {
        let mut chance = Chance(seed);
        let groups: Vec<_> = (0..=chance.below(3))
            .map(|group| (format!("g{group}"), TOPICS[..=chance.below(TOPICS.len())].to_vec()))
            .collect();
        let prefetch = 1 + chance.below(4);
        let finished = vec![Vec::new(); groups.len()];
        let (members, published) = (Vec::new(), Vec::new());
        let mut run = Self {
            state: State::new(WIDE),
            chance,
            prefetch,
            groups,
            members,
            finished,
            published,
            confirmed: HashSet::new(),
        };
        for group in 0..run.groups.len() {
            run.join(group);
        }
        run
    }

    fn join(&mut self, group: usize) {
        let (name, topics) = &self.groups[group];
        let member = join(&mut self.state, name, topics, self.prefetch);
        self.members.push((group, member, Vec::new()));
    }

    fn publish(&mut self) {
        let topic = TOPICS[self.chance.below(TOPICS.len())];
        let key = ["a", "b", "c", ""][self.chance.below(4)];
        let message = outgoing(topic, Some(key).filter(|key| !key.is_empty()), &self.published.len().to_string());
        match self.state.publish(message.clone()) {
            Published::Waiting(number) => self.published.push((number, message)),
            Published::Confirmed => assert!(self.groups.iter().all(|(_, topics)| !topics.contains(&topic))),
            other => panic!("{other:?}"),
        }
    }

    fn take(&mut self) {
        if self.members.is_empty() {
            return;
        }
        let (at, max) = (self.chance.below(self.members.len()), 1 + self.chance.below(5));
        let (group, member, held) = &mut self.members[at];
        let group = *group;
        held.extend(self.state.take(*member, max));
        assert!(held.len() <= self.prefetch, "more than the prefetch is out");
        let of_group = self.members.iter().filter(|(other, ..)| *other == group).flat_map(|(.., held)| held);
        let mut lanes = HashSet::new();
        for lane in of_group.filter_map(|incoming| super::kept_lane_of(&incoming.delivery)) {
            assert!(lanes.insert(lane), "two messages of a lane are out at once");
        }
    }

    fn settle(&mut self) {
        if self.members.is_empty() {
            return;
        }
        let at = self.chance.below(self.members.len());
        let (group, member, held) = &mut self.members[at];
        if held.is_empty() {
            return;
        }
        let incoming = held.swap_remove(self.chance.below(held.len()));
        let how = if self.chance.below(4) == 0 { Settlement::Return } else { Settlement::Done };
        if how == Settlement::Done {
            self.finished[*group].push(String::from_utf8(incoming.delivery.payload().to_vec()).unwrap());
        }
        for number in self.state.settle(*member, &[(incoming.receipt, how)]) {
            assert!(self.confirmed.insert(number), "confirmed twice");
        }
    }

    fn leave(&mut self) {
        if !self.members.is_empty() {
            let at = self.chance.below(self.members.len());
            let (_, member, _) = self.members.swap_remove(at);
            self.state.leave(member);
        }
    }

    fn step(&mut self) {
        match self.chance.below(12) {
            0..=3 => self.publish(),
            4..=6 => self.take(),
            7..=9 => self.settle(),
            10 => self.leave(),
            _ => {
                let group = self.chance.below(self.groups.len());
                self.join(group);
            }
        }
    }

    /// Finishes everything with one member per group.
    fn drain(&mut self) {
        while !self.members.is_empty() {
            self.leave();
        }
        for group in 0..self.groups.len() {
            self.join(group);
        }
        // A message that is never confirmed must fail the test rather than hang it.
        for _ in 0..500 * (1 + self.published.len()) {
            if self.confirmed.len() == self.published.len() {
                return;
            }
            self.take();
            self.settle();
        }
    }

    fn check(&self, seed: u64) {
        for (group, (name, topics)) in self.groups.iter().enumerate() {
            let of_group = |outgoing: &&Outgoing| topics.contains(&outgoing.delivery.topic());
            let expected = self.published.iter().map(|(_, outgoing)| outgoing).filter(of_group);
            let lane_by_text: HashMap<_, _> = expected
                .map(|outgoing| (String::from_utf8(outgoing.delivery.payload().to_vec()).unwrap(), &outgoing.delivery))
                .collect();
            assert_eq!(
                self.finished[group].len(),
                lane_by_text.len(),
                "seed {seed}: {name} finished each message once"
            );
            let mut last: BTreeMap<_, usize> = BTreeMap::new();
            for text in &self.finished[group] {
                let Some(lane) = super::kept_lane_of(lane_by_text[text]) else { continue };
                let number: usize = text.parse().unwrap();
                let before = last.insert(lane, number);
                assert!(
                    before.is_none_or(|before| before < number),
                    "seed {seed}: {name} finished {before:?} before {text}"
                );
            }
        }
        let published: HashSet<_> = self.published.iter().map(|(number, _)| *number).collect();
        assert_eq!(self.confirmed, published, "seed {seed}: everything is confirmed");
        assert!(self.state.is_empty(), "seed {seed}: nothing is left behind");
    }
}

#[test]
fn every_message_reaches_every_group_in_order_whatever_happens() {
    for seed in 0..300 {
        let mut run = Run::new(seed);
        for _ in 0..200 {
            run.step();
        }
        run.drain();
        run.check(seed);
    }
}
