use std::sync::Arc;

use super::{Ack, Hand, Lane};
use crate::broker::driver::{Receipt, Settlement};

const DONE: Settlement = Settlement::Done;
const RETURN: Settlement = Settlement::Return;

fn lane(key: &str) -> Lane {
    Arc::new((0, key.to_owned()))
}

/// Two slots, both open, and nothing in hand.
fn hand() -> (Hand<&'static str>, [u64; 2]) {
    let mut hand = Hand::new(2, 100);
    let epochs = [hand.open(0), hand.open(1)];
    (hand, epochs)
}

fn take(hand: &mut Hand<&'static str>, max: usize) -> Vec<(Receipt, &'static str)> {
    hand.take(max, |receipt, message| (receipt, *message))
}

fn names(taken: &[(Receipt, &'static str)]) -> Vec<&'static str> {
    taken.iter().map(|(_, name)| *name).collect()
}

#[test]
fn a_key_is_given_out_one_at_a_time_and_the_others_flow() {
    let (mut hand, [epoch, _]) = hand();
    for (tag, key, name) in [(1, "a", "a1"), (2, "a", "a2"), (3, "b", "b1"), (4, "a", "a3")] {
        hand.arrive(0, epoch, tag, Some(lane(key)), name);
    }
    hand.arrive(0, epoch, 5, None, "free");
    let first = take(&mut hand, 10);
    assert_eq!(names(&first), ["a1", "b1", "free"]);
    assert!(take(&mut hand, 10).is_empty());
    hand.settle(&[(first[0].0, DONE)]);
    let second = take(&mut hand, 10);
    assert_eq!(names(&second), ["a2"]);
    hand.settle(&[(second[0].0, DONE)]);
    assert_eq!(names(&take(&mut hand, 10)), ["a3"]);
}

#[test]
fn what_is_handed_back_comes_before_the_later_ones_of_its_key() {
    let (mut hand, [epoch, _]) = hand();
    hand.arrive(0, epoch, 1, Some(lane("a")), "a1");
    hand.arrive(0, epoch, 2, Some(lane("a")), "a2");
    hand.arrive(0, epoch, 3, None, "free");
    let taken = take(&mut hand, 10);
    assert!(hand.settle(&[(taken[0].0, RETURN), (taken[1].0, RETURN)]).is_empty());
    hand.arrive(0, epoch, 4, Some(lane("a")), "a3");
    let again = take(&mut hand, 10);
    assert_eq!(names(&again), ["a1", "free"]);
    hand.settle(&[(again[0].0, DONE)]);
    assert_eq!(names(&take(&mut hand, 1)), ["a2"]);
}

#[test]
fn no_more_is_out_than_was_asked_for() {
    let mut hand = Hand::new(1, 2);
    let epoch = hand.open(0);
    for tag in 1..=5 {
        hand.arrive(0, epoch, tag, None, "m");
    }
    let taken = take(&mut hand, 10);
    assert_eq!(taken.len(), 2);
    assert!(take(&mut hand, 10).is_empty());
    hand.settle(&[(taken[1].0, DONE)]);
    assert_eq!(take(&mut hand, 10).len(), 1);
}

#[test]
fn all_tags_before_the_first_that_is_held_are_acknowledged_at_once() {
    let (mut hand, [epoch, _]) = hand();
    for tag in 1..=5 {
        hand.arrive(0, epoch, tag, None, "m");
    }
    let taken = take(&mut hand, 10);
    let done = |numbers: &[usize]| numbers.iter().map(|number| (taken[number - 1].0, DONE)).collect::<Vec<_>>();
    let ack = |tag, multiple| Ack { slot: 0, epoch, tag, multiple };
    assert_eq!(hand.settle(&done(&[4])), [ack(4, false)]);
    assert_eq!(hand.settle(&done(&[2, 1, 5])), [ack(2, true), ack(5, false)]);
    assert_eq!(hand.settle(&done(&[3])), [ack(3, false)]);
    assert!(hand.settle(&done(&[3])).is_empty());
}

#[test]
fn a_lost_channel_takes_back_what_was_not_given_out_and_holds_the_key_of_what_was() {
    let (mut hand, [epoch, other]) = hand();
    hand.arrive(0, epoch, 1, Some(lane("a")), "a1");
    hand.arrive(0, epoch, 2, Some(lane("a")), "a2");
    hand.arrive(0, epoch, 3, None, "free");
    hand.arrive(1, other, 1, Some(lane("b")), "b1");
    let taken = take(&mut hand, 1);
    assert_eq!(names(&taken), ["a1"]);
    hand.lost(0);
    hand.arrive(0, epoch, 4, Some(lane("a")), "too late");
    let epoch = hand.open(0);
    for (tag, name) in [(1, "a1 again"), (2, "a2 again")] {
        hand.arrive(0, epoch, tag, Some(lane("a")), name);
    }
    assert_eq!(names(&take(&mut hand, 10)), ["b1"]);
    // Its tag is of the channel that is gone: nothing is acknowledged, and nothing is given out twice.
    assert!(hand.settle(&[(taken[0].0, DONE)]).is_empty());
    let again = take(&mut hand, 10);
    assert_eq!(names(&again), ["a1 again"]);
    assert_eq!(hand.settle(&[(again[0].0, DONE)]), [Ack { slot: 0, epoch, tag: 1, multiple: false }]);
    assert_eq!(names(&take(&mut hand, 10)), ["a2 again"]);
}

#[test]
fn a_message_handed_back_after_its_channel_was_lost_comes_from_the_server_alone() {
    let (mut hand, [epoch, _]) = hand();
    hand.arrive(0, epoch, 1, Some(lane("a")), "a1");
    let taken = take(&mut hand, 1);
    hand.lost(0);
    assert!(hand.settle(&[(taken[0].0, RETURN)]).is_empty());
    assert!(take(&mut hand, 10).is_empty());
    assert!(hand.lanes.is_empty() && hand.out.is_empty());
}

#[test]
fn a_slot_that_is_given_up_ends_what_is_out_and_gives_out_nothing_more() {
    let (mut hand, [epoch, _]) = hand();
    hand.arrive(0, epoch, 1, Some(lane("a")), "a1");
    hand.arrive(0, epoch, 2, Some(lane("b")), "b1");
    hand.arrive(0, epoch, 3, Some(lane("a")), "a2");
    hand.arrive(0, epoch, 4, None, "free");
    let taken = take(&mut hand, 2);
    assert_eq!(hand.active(0..2), [0]);
    hand.give_up(0);
    hand.arrive(0, epoch, 5, Some(lane("c")), "c1");
    assert!(take(&mut hand, 10).is_empty());
    assert!(hand.is_leaving() && !hand.is_open(0) && hand.is_out(0) && hand.active(0..2).is_empty());
    // What ended is acknowledged; what is handed back goes back with the channel.
    assert_eq!(
        hand.settle(&[(taken[0].0, DONE), (taken[1].0, RETURN)]),
        [Ack { slot: 0, epoch, tag: 1, multiple: false }]
    );
    assert!(!hand.is_leaving() && !hand.is_out(0) && take(&mut hand, 10).is_empty());
    assert!(hand.lanes.is_empty() && hand.next.is_empty());
}

#[test]
fn a_member_knows_the_slots_it_gets_messages_of() {
    let (mut hand, [epoch, other]) = hand();
    assert!(hand.active(0..2).is_empty());
    hand.arrive(1, other, 1, None, "m");
    assert_eq!(hand.active(0..2), [1]);
    hand.arrive(0, epoch, 1, None, "m");
    assert_eq!(hand.active(0..2), [0, 1]);
    assert_eq!(hand.active(1..2), [1]);
    hand.open(1);
    assert_eq!(hand.active(0..2), [0]);
}
