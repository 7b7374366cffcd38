//! Fair shares.

use std::collections::{BTreeMap, HashSet};

use super::*;
use crate::store::desk::tests::Dice;

fn free() -> Vec<Shard> {
    let shard = |number| Shard { number, owner: None, fence: 0, lease_until: None };
    (0..i16::try_from(SHARDS).unwrap()).map(shard).collect()
}

/// Looks once for a process that is busy with nothing, and does what it is told to.
fn look(me: &str, live: &[String], shards: &mut [Shard], now: i64) -> Plan {
    let plan = plan(me, live, shards, now);
    for shard in shards {
        if plan.take.contains(&shard.number) {
            (shard.owner, shard.fence, shard.lease_until) = (Some(me.to_owned()), shard.fence + 1, Some(now + 5));
        } else if plan.leave.contains(&shard.number) {
            (shard.owner, shard.lease_until) = (None, None);
        } else if shard.owner.as_deref() == Some(me) {
            shard.lease_until = Some(now + 5);
        }
    }
    plan
}

fn of(shards: &[Shard], owner: &str) -> usize {
    shards.iter().filter(|shard| shard.owner.as_deref() == Some(owner)).count()
}

#[test]
fn every_number_of_processes_shares_fairly_within_two_looks_each() {
    for count in 1..=20 {
        let live: Vec<String> = (0..count).map(|at| format!("p{at:02}")).collect();
        let mut shards = free();
        // The first one has everything, until it knows of the others.
        look("p00", &live[..1], &mut shards, 0);
        assert_eq!(of(&shards, "p00"), 16);
        for now in 1..=2 {
            for me in &live {
                look(me, &live, &mut shards, now);
            }
        }
        let counts: Vec<usize> = live.iter().map(|me| of(&shards, me)).collect();
        assert_eq!(counts.iter().sum::<usize>(), 16, "{counts:?}");
        assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{counts:?}");
        // And then nothing moves any more.
        for me in &live {
            assert_eq!(look(me, &live, &mut shards, 3), Plan::default());
        }
    }
}

#[test]
fn what_a_dead_process_held_is_taken_when_its_lease_is_over_and_not_before() {
    let live = ["a".to_owned(), "b".to_owned()];
    let mut shards = free();
    look("a", &live, &mut shards, 0);
    look("b", &live, &mut shards, 0);
    assert_eq!((of(&shards, "a"), of(&shards, "b")), (8, 8));
    // Not heard of any more, `a` is not alive; its shards are still its own.
    assert!(plan("b", &live[1..], &shards, 4).take.is_empty());
    assert_eq!(plan("b", &live[1..], &shards, 5).take.len(), 8);
}

#[test]
fn processes_that_come_and_go_leave_no_shard_behind() {
    let mut dice = Dice(7);
    for _ in 0..200 {
        let mut shards = free();
        let mut live: Vec<String> = Vec::new();
        for now in 0..40 {
            match dice.roll(4) {
                0 => live.push(format!("p{}", dice.roll(30))),
                1 if !live.is_empty() => drop(live.remove(usize::try_from(dice.roll(live.len() as u64)).unwrap())),
                _ => {}
            }
            live.sort();
            live.dedup();
            for me in live.clone() {
                if dice.roll(3) > 0 {
                    look(&me, &live, &mut shards, now);
                }
            }
        }
        if live.is_empty() {
            continue;
        }
        for now in [50, 51, 52] {
            for me in &live {
                look(me, &live, &mut shards, now);
            }
        }
        let counts: Vec<usize> = live.iter().map(|me| of(&shards, me)).collect();
        assert_eq!(counts.iter().sum::<usize>(), 16, "{live:?} {counts:?}");
        assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{counts:?}");
    }
}

#[test]
fn keys_go_to_all_shards_and_always_to_the_same() {
    let mut counts = BTreeMap::new();
    for key in 0..16_000 {
        let key = format!("key-{key}");
        let shard = shard_of("orders", Some(&key), Uuid::nil());
        assert_eq!(shard, shard_of("orders", Some(&key), Uuid::max()));
        *counts.entry(shard).or_insert(0) += 1;
    }
    assert_eq!(counts.len(), usize::from(SHARDS));
    assert!(counts.values().all(|count| (700..1_300).contains(count)), "{counts:?}");
    // The numbers are in databases: no other build may have others.
    assert_eq!(lane_of("orders", Some("a")), Some(10_696_828_140_377_926_463));
    assert_eq!(shard_of("orders", Some("a"), Uuid::nil()), 11);
    let spread: HashSet<i16> = (0..200_u128).map(|id| shard_of("orders", None, Uuid::from_u128(id))).collect();
    assert_eq!(spread.len(), usize::from(SHARDS));
}
