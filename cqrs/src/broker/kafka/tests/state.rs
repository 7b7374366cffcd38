use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Partition, State};
use crate::broker::Delivery;
use crate::broker::driver::{Incoming, Receipt, Settlement};

fn partition(number: i32) -> Partition {
    (Arc::from("t"), number)
}

fn state(prefetch: usize) -> State {
    let mut state = State::new(prefetch);
    state.assign(partition(0));
    state.assign(partition(1));
    state
}

fn fetch(state: &mut State, number: i32, offsets: std::ops::Range<i64>) {
    for offset in offsets {
        state.fetched(partition(number), offset, Delivery::new("t", format!("{number}/{offset}")));
    }
}

fn texts(incoming: &[Incoming]) -> Vec<String> {
    incoming.iter().map(|one| String::from_utf8_lossy(one.delivery.payload()).into_owned()).collect()
}

fn settle(state: &mut State, incoming: &[Incoming], how: Settlement) {
    for one in incoming {
        state.settle(one.receipt, how);
    }
}

#[test]
fn an_offset_is_committed_when_everything_before_it_is_settled() {
    let mut state = state(10);
    fetch(&mut state, 0, 5..8);
    let taken = state.take(10);
    settle(&mut state, &taken[1..2], Settlement::Done);
    assert_eq!(state.take_commits(), [(partition(0), 5)], "where it began, for the first one is not settled");
    assert_eq!(state.take_commits(), [], "the broker is told once");
    settle(&mut state, &taken[..1], Settlement::Done);
    assert_eq!(state.take_commits(), [(partition(0), 7)]);
    settle(&mut state, &taken[2..], Settlement::Done);
    assert_eq!(state.take_commits(), [(partition(0), 8)]);
    state.not_committed(&partition(0));
    assert_eq!(state.take_commits(), [(partition(0), 8)], "what failed is tried again");
}

#[test]
fn what_is_handed_back_comes_before_what_came_after_it() {
    let mut state = state(10);
    fetch(&mut state, 0, 0..6);
    let taken = state.take(3);
    // Whatever the order in which they are handed back.
    settle(&mut state, &taken[1..2], Settlement::Return);
    settle(&mut state, &taken[..1], Settlement::Return);
    assert_eq!(texts(&state.take(10)), ["0/0", "0/1", "0/3", "0/4", "0/5"]);
}

#[test]
fn no_more_than_the_prefetch_is_out_and_as_much_waits() {
    let mut state = state(2);
    assert_eq!(state.room(), 2);
    fetch(&mut state, 0, 0..2);
    assert_eq!(state.room(), 0);
    let taken = state.take(5);
    assert_eq!(taken.len(), 2);
    assert_eq!(state.room(), 2);
    fetch(&mut state, 0, 2..4);
    assert!(state.take(5).is_empty());
    settle(&mut state, &taken[..1], Settlement::Done);
    assert_eq!(texts(&state.take(5)), ["0/2"]);
}

#[test]
fn a_partition_that_goes_takes_along_what_was_not_settled() {
    let mut state = state(10);
    fetch(&mut state, 0, 0..2);
    fetch(&mut state, 1, 0..2);
    let going = BTreeSet::from([partition(0)]);
    let taken = state.take(1);
    assert!(state.is_busy(&going));
    state.hold(&going);
    assert_eq!(texts(&state.take(10)), ["1/0", "1/1"], "no more of it is handed out");
    state.revoke(&going);
    assert!(!state.is_busy(&going));
    state.settle(taken[0].receipt, Settlement::Done);
    state.settle(taken[0].receipt, Settlement::Return);
    assert!(state.take(10).is_empty());
    fetch(&mut state, 0, 7..8);
    assert!(state.take(10).is_empty(), "what comes late is dropped");
    assert_eq!(state.take_commits(), [(partition(1), 0)], "nothing is committed that belongs to somebody else");
}

#[test]
fn a_receipt_of_an_earlier_time_settles_nothing_of_a_partition_that_came_back() {
    let mut state = state(10);
    fetch(&mut state, 0, 0..1);
    let old = state.take(1);
    state.revoke(&BTreeSet::from([partition(0)]));
    state.assign(partition(0));
    fetch(&mut state, 0, 0..1);
    let new = state.take(1);
    settle(&mut state, &old, Settlement::Done);
    assert_eq!(state.take_commits(), [(partition(0), 0)]);
    settle(&mut state, &new, Settlement::Done);
    state.settle(Receipt(999), Settlement::Done);
    assert_eq!(state.take_commits(), [(partition(0), 1)]);
}

/// Somebody else is given it with its partition: handed out here again, it would be handled by two at once.
#[test]
fn what_is_handed_back_of_a_partition_that_goes_is_not_handed_out_again() {
    let mut state = state(10);
    fetch(&mut state, 0, 0..2);
    fetch(&mut state, 1, 0..1);
    let taken = state.take(10);
    let going = BTreeSet::from([partition(0)]);
    state.hold(&going);
    settle(&mut state, &taken, Settlement::Return);
    assert!(!state.is_busy(&going));
    assert_eq!(texts(&state.take(10)), ["1/0"]);
    assert!(!state.take_commits().contains(&(partition(0), 2)), "it is not settled");
    state.revoke(&going);
    state.assign(partition(0));
    fetch(&mut state, 0, 0..1);
    let taken = state.take(10);
    settle(&mut state, &taken, Settlement::Return);
    assert_eq!(texts(&state.take(10)), ["0/0"], "it is ours again");
}

#[test]
fn large_messages_are_fetched_few_at_a_time() {
    let mut state = state(1_000);
    let large = || Delivery::new("t", vec![0; 1024 * 1024]);
    for offset in 0..17 {
        assert_eq!(state.room() > 0, offset < 16, "{offset}");
        state.fetched(partition(0), offset, large());
    }
    let taken = state.take(10);
    assert_eq!((state.room(), state.room_in_bytes()), (993, 9 * 1024 * 1024));
    settle(&mut state, &taken, Settlement::Return);
    assert_eq!(state.room(), 0);
    state.hold(&BTreeSet::from([partition(0)]));
    assert_eq!((state.room(), state.room_in_bytes()), (1_000, 16 * 1024 * 1024));
}
