//! Stored work: lanes, queues, leases and fences, retries.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use super::bench::{
    Bench, HANDLER, LONG_LEASE, SOON, Table, Turns, assert_in_order, at, claim_of, claim_work, everything, finish,
    keep_work, names, next_due, piece, queue, request, sorted, work_names,
};
use crate::store::driver::{ClaimRequest, WorkShare};
use crate::store::{Claim, Record, WorkKind, WorkQueue, WorkRecord};

pub(super) async fn work_comes_back_as_it_was_stored(store: Bench) {
    let stored = WorkRecord {
        group: "billing".to_owned(),
        topic: "orders".to_owned(),
        key: Some("k".to_owned()),
        attempts: 2,
        error: Some("first".to_owned()),
        due_at: at(4),
        created_at: at(2) + Duration::from_micros(17),
        headers: BTreeMap::from([("a".to_owned(), "ä\"".to_owned())]),
        ..piece(WorkKind::Consumed, "placed", Some("lane"))
    };
    keep_work(&*store, [stored.clone()]).await;
    assert!(claim_work(&*store, 3).await.is_empty(), "it is due at 4");
    assert_eq!(next_due(&*store).await, Some(at(4)));
    let claimed = claim_work(&*store, 4).await;
    assert_eq!(claimed[0].record, stored);
    assert_eq!(claimed[0].deferred_since, None);
    let bare = WorkRecord { payload: Vec::new(), ..piece(WorkKind::Command, "größer", None) };
    keep_work(&*store, [bare.clone()]).await;
    assert_eq!(claim_work(&*store, 4).await[0].record, bare);
}

pub(super) async fn queues_that_were_not_asked_for_stay(store: Bench) {
    let consumed = |name, group: &str| WorkRecord { group: group.to_owned(), ..piece(WorkKind::Consumed, name, None) };
    let other = WorkRecord { handler: "mail::other".to_owned(), ..consumed("a3", "a") };
    keep_work(&*store, [consumed("a1", "a"), consumed("b1", "b"), consumed("a2", "a"), other]).await;
    keep_work(&*store, WorkKind::ALL.map(|kind| piece(kind, kind.as_str(), None))).await;
    let claimed = claim_of(&*store, &[WorkQueue::consumed("a", HANDLER)], request("a", 1, 9)).await.unwrap();
    assert_eq!(work_names(&claimed), ["a1", "a2"]);
    let kinds = [WorkKind::Consumed, WorkKind::Durable].map(queue);
    let claimed = claim_of(&*store, &kinds, request("a", 1, 9)).await.unwrap();
    assert_eq!(work_names(&claimed), ["durable", "consumed"]);
    let claimed = claim_of(&*store, &[WorkQueue::consumed("b", HANDLER)], request("a", 1, 9)).await.unwrap();
    assert_eq!(work_names(&claimed), ["b1"]);
    assert!(claim_of(&*store, &[], request("a", 1, 9)).await.unwrap().is_empty());
    assert_eq!(work_names(&claim_work(&*store, 1).await), ["command", "timer"]);
}

pub(super) async fn the_limit_takes_the_oldest_of_all_queues(store: Bench) {
    let kinds = [WorkKind::Timer, WorkKind::Durable, WorkKind::Command, WorkKind::Durable];
    keep_work(&*store, kinds.map(|kind| piece(kind, kind.as_str(), None))).await;
    assert!(claim_of(&*store, &everything(), request("a", 1, 0)).await.unwrap().is_empty());
    let claimed = claim_of(&*store, &everything(), request("a", 1, 3)).await.unwrap();
    assert_eq!(work_names(&claimed), ["timer", "durable", "command"]);
}

pub(super) async fn a_lane_gives_one_at_a_time_in_order(store: Bench) {
    let rows = [("a1", Some("a")), ("a2", Some("a")), ("b1", Some("b")), ("n", None), ("a3", Some("a"))];
    keep_work(&*store, rows.map(|(name, lane)| piece(WorkKind::Durable, name, lane))).await;
    let first = claim_work(&*store, 1).await;
    assert_eq!(work_names(&first), ["a1", "b1", "n"]);
    assert!(claim_work(&*store, 1).await.is_empty());
    assert!(finish(&*store, first[0].claim).await);
    let second = claim_work(&*store, 1).await;
    assert_eq!(work_names(&second), ["a2"]);
    assert!(store.retry_work(second[0].claim, at(30), "away").await.unwrap());
    assert!(claim_work(&*store, 2).await.is_empty(), "`a3` waits for `a2`");
    for held in &first[1..] {
        assert!(finish(&*store, held.claim).await);
    }
    let third = claim_of(&*store, &[queue(WorkKind::Durable)], request("a", 30, 1)).await.unwrap();
    assert_eq!(work_names(&third), ["a2"]);
    assert_eq!(third[0].record.attempts, 1);
    assert_eq!(third[0].record.error.as_deref(), Some("away"));
}

/// A store whose transactions exclude each other has nothing to prove here: what is begun first is committed first.
pub(super) async fn a_lane_does_one_at_a_time_though_an_earlier_row_comes_late(store: Bench) {
    let of_lane = |name| piece(WorkKind::Durable, name, Some("lane"));
    let other = store.another().await;
    let mut late = store.begin().await.unwrap();
    late.store(vec![Record::Work(of_lane("late"))]).await.unwrap();
    let beside = tokio::time::timeout(10 * SOON, keep_work(&*other, ["early", "last"].map(of_lane)));
    if beside.await.is_err() {
        return late.rollback().await.unwrap();
    }
    let mut turns = Turns::new(&*store, Table::Work, 1);
    assert_eq!(names(&turns.look("one", 9).await), ["early"]);
    late.commit().await.unwrap();
    for owner in ["two", "one", "two"] {
        assert!(turns.look(owner, 9).await.is_empty(), "`early` is being done");
        assert_eq!(next_due(&*store).await, None, "whoever waited for `late` would turn in circles");
    }
    let mut done = vec!["early".to_owned()];
    while let Some(name) = turns.held.first().map(|held| held.name.clone()) {
        turns.end(&name).await;
        let given = turns.look("two", 9).await;
        assert!(given.len() <= 1, "two of a lane at a time: {given:?}");
        done.extend(given.into_iter().map(|work| work.name));
    }
    done.sort_unstable();
    assert_eq!(done, ["early", "last", "late"]);
}

pub(super) async fn a_lane_goes_over_queues(store: Bench) {
    let rows = [(WorkKind::Durable, "d"), (WorkKind::Consumed, "c")];
    keep_work(&*store, rows.map(|(kind, name)| piece(kind, name, Some("a")))).await;
    let consumed = [queue(WorkKind::Consumed)];
    assert!(claim_of(&*store, &consumed, request("a", 1, 9)).await.unwrap().is_empty(), "it is behind `d`");
    assert_eq!(store.next_work_due(&consumed).await.unwrap(), None, "it may not be taken yet");
    let first = claim_work(&*store, 1).await;
    assert_eq!(work_names(&first), ["d"]);
    assert!(finish(&*store, first[0].claim).await);
    assert_eq!(work_names(&claim_of(&*store, &consumed, request("a", 1, 9)).await.unwrap()), ["c"]);
}

pub(super) async fn later_work_of_a_lane_does_not_pass_earlier_work_that_waits(store: Bench) {
    let first = WorkRecord { due_at: at(60), ..piece(WorkKind::Consumed, "a1", Some("a")) };
    keep_work(&*store, [first, piece(WorkKind::Consumed, "a2", Some("a"))]).await;
    assert!(claim_work(&*store, 1).await.is_empty());
    assert_eq!(next_due(&*store).await, Some(at(60)), "not the row that may not be taken");
    assert_eq!(work_names(&claim_work(&*store, 60).await), ["a1"]);
}

pub(super) async fn dead_work_holds_its_lane_unless_it_is_skipped(store: Bench) {
    let rows = [("a1", "a"), ("a2", "a"), ("b1", "b"), ("b2", "b")];
    keep_work(&*store, rows.map(|(name, lane)| piece(WorkKind::Durable, name, Some(lane)))).await;
    let claimed = claim_work(&*store, 1).await;
    assert!(store.bury_work(claimed[0].claim, "no such mailbox", false).await.unwrap());
    assert!(store.bury_work(claimed[1].claim, "no such mailbox", true).await.unwrap());
    assert_eq!(work_names(&claim_work(&*store, 2).await), ["b2"]);
    assert_eq!(next_due(&*store).await, None, "whoever waited for `a2` would turn in circles");
    let letters = store.dead_letters(9).await.unwrap();
    assert_eq!((letters[0].error.as_str(), letters[0].attempts), ("no such mailbox", 1));
    store.release("a").await.unwrap();
    assert!(store.discard(letters[0].id).await.unwrap());
    assert_eq!(work_names(&claim_work(&*store, 2).await), ["a2", "b2"]);
}

pub(super) async fn a_lane_is_held_by_whatever_stands_in_it(store: Bench) {
    keep_work(&*store, [piece(WorkKind::Durable, "a", Some("a")), piece(WorkKind::Durable, "b", Some("b"))]).await;
    let held = async |lane: &str| {
        let mut tx = store.begin().await.unwrap();
        let held = tx.lane_is_held(lane).await.unwrap();
        tx.rollback().await.unwrap();
        held
    };
    assert_eq!((held("a").await, held("b").await, held("c").await), (true, true, false), "waiting");
    let claimed = claim_work(&*store, 1).await;
    assert!(held("a").await && held("b").await, "claimed");
    assert!(store.bury_work(claimed[0].claim, "dead", false).await.unwrap());
    assert!(store.bury_work(claimed[1].claim, "dead", true).await.unwrap());
    assert_eq!((held("a").await, held("b").await), (true, false), "dead, and dead but skipped");
    assert!(store.discard(store.dead_letters(1).await.unwrap()[0].id).await.unwrap());
    assert!(!held("a").await);
    let mut tx = store.begin().await.unwrap();
    tx.store(vec![Record::Work(piece(WorkKind::Durable, "own", Some("own")))]).await.unwrap();
    assert!(tx.lane_is_held("own").await.unwrap(), "by what this unit has stored");
}

pub(super) async fn work_can_be_stored_dead(store: Bench) {
    let dead = WorkRecord {
        dead: true,
        attempts: 1,
        error: Some("cannot be decoded".to_owned()),
        ..piece(WorkKind::Consumed, "a1", Some("a"))
    };
    keep_work(&*store, [dead, piece(WorkKind::Consumed, "a2", Some("a"))]).await;
    assert!(claim_work(&*store, 1).await.is_empty());
    assert_eq!(next_due(&*store).await, None);
    let letters = store.dead_letters(9).await.unwrap();
    assert_eq!((letters.len(), letters[0].attempts, letters[0].error.as_str()), (1, 1, "cannot be decoded"));
    assert_eq!(store.counts().await.unwrap().work, 1);
}

pub(super) async fn a_stalled_owner_ends_nothing(store: Bench) {
    keep_work(&*store, [piece(WorkKind::Durable, "a", None)]).await;
    let stale = claim_work(&*store, 1).await[0].claim;
    let other = store.another().await;
    let mut turns = Turns::new(&*other, Table::Work, 5);
    let taken = turns.gather(&["b"], 1).await;
    assert_eq!(taken[0].attempts, 1, "a message that kills its process is not tried for ever");
    assert!(!finish(&*store, stale).await, "finished by an owner that another one has followed");
    assert!(!store.retry_work(stale, at(9), "late").await.unwrap());
    assert!(!store.bury_work(stale, "late", false).await.unwrap());
    assert!(!store.defer_work(stale, at(9), at(9), "late").await.unwrap());
    assert_eq!(store.renew_work(vec![stale], at(600)).await.unwrap(), []);
    turns.end("a").await;
    assert!(!finish(&*store, taken[0].claim).await, "it is done");
}

pub(super) async fn work_of_a_dead_process_is_taken_up(store: Bench) {
    keep_work(&*store, ["1", "2"].map(|name| piece(WorkKind::Durable, name, Some("a")))).await;
    assert_eq!(claim_of(&*store, &everything(), request("one", 0, 9)).await.unwrap().len(), 1);
    let other = store.another().await;
    let mut turns = Turns::new(&*other, Table::Work, 0);
    let mut taken = Vec::new();
    while turns.now < 10 {
        let given = turns.look("two", 100).await;
        assert!(given.is_empty() || turns.now >= 5, "{given:?} while the lease lasted, at {}", turns.now);
        taken.extend(given);
    }
    assert_eq!(names(&taken), ["1"], "ten seconds after the claim");
    assert_eq!(taken[0].attempts, 1, "it is tried once more, and not for the first time");
    turns.end("1").await;
    assert_eq!(names(&turns.look("two", 100).await), ["2"]);
}

pub(super) async fn renewed_work_stays_its_owners(store: Bench) {
    keep_work(&*store, ["a", "b"].map(|name| piece(WorkKind::Durable, name, None))).await;
    let claimed = claim_of(&*store, &everything(), request("one", 1, 9)).await.unwrap();
    assert!(finish(&*store, claimed[1].claim).await);
    let claims = claimed.iter().map(|work| work.claim).collect();
    assert_eq!(store.renew_work(claims, at(60)).await.unwrap(), [claimed[0].claim], "the other one is done");
    let other = store.another().await;
    for seconds in [6, 12, 59] {
        for (owner, process) in [("two", &other), ("one", &store)] {
            let given = claim_of(&**process, &everything(), request(owner, seconds, 9)).await.unwrap();
            assert!(given.is_empty(), "`{owner}` was given at {seconds} what is held until 60");
        }
    }
    assert!(finish(&*store, claimed[0].claim).await);
}

pub(super) async fn work_ends_once(store: Bench) {
    keep_work(&*store, [piece(WorkKind::Durable, "a", None)]).await;
    let claim = claim_work(&*store, 1).await[0].claim;
    assert!(store.retry_work(claim, at(1), "away").await.unwrap());
    assert!(!store.retry_work(claim, at(1), "away").await.unwrap());
    assert!(!store.bury_work(claim, "away", false).await.unwrap());
    assert!(!finish(&*store, claim).await, "the claim was given up");
    assert_eq!(store.renew_work(vec![claim], at(60)).await.unwrap(), []);
    assert_eq!(claim_work(&*store, 1).await[0].record.attempts, 1);
}

pub(super) async fn a_number_never_comes_back(store: Bench) {
    keep_work(&*store, [piece(WorkKind::Durable, "a", None)]).await;
    let stale = claim_work(&*store, 1).await[0].claim;
    assert!(finish(&*store, stale).await);
    keep_work(&*store, [piece(WorkKind::Durable, "b", None)]).await;
    assert_ne!(claim_work(&*store, 1).await[0].claim.seq, stale.seq);
    assert!(!finish(&*store, stale).await, "it would end another message");
}

pub(super) async fn released_work_was_not_attempted(store: Bench) {
    keep_work(&*store, ["a", "b"].map(|name| piece(WorkKind::Durable, name, None))).await;
    let stale = claim_of(&*store, &everything(), request("one", 1, 1)).await.unwrap();
    store.release("another").await.unwrap();
    assert_eq!(store.counts().await.unwrap().claimed, 1, "`one` was not released");
    store.release("one").await.unwrap();
    assert!(!finish(&*store, stale[0].claim).await);
    let mut turns = Turns::new(&*store, Table::Work, 1);
    let given = turns.gather(&["three"], 2).await;
    assert_eq!(sorted(&given), ["a", "b"]);
    assert!(given.iter().all(|row| row.attempts == 0), "{given:?}");
    assert!(!finish(&*store, stale[0].claim).await, "it is another's now");
}

pub(super) async fn finished_work_is_gone_only_with_the_unit(store: Bench) {
    keep_work(&*store, ["1", "2"].map(|name| piece(WorkKind::Durable, name, Some("a")))).await;
    let claim = claim_work(&*store, 1).await[0].claim;
    for dropped in [true, false] {
        let mut tx = store.begin().await.unwrap();
        assert!(tx.finish_work(claim).await.unwrap());
        assert!(!tx.finish_work(claim).await.unwrap(), "it is done, in this unit");
        if dropped {
            drop(tx);
        } else {
            tx.rollback().await.unwrap();
        }
        assert_eq!(store.counts().await.unwrap().work, 2);
        assert!(claim_work(&*store, 2).await.is_empty(), "it is claimed as before, and `2` is behind it");
    }
    assert!(finish(&*store, claim).await);
    assert_eq!(work_names(&claim_work(&*store, 2).await), ["2"]);
}

pub(super) async fn thousands_of_pieces_are_claimed_and_renewed(store: Bench) {
    keep_work(&*store, (0..5_000).map(|n| piece(WorkKind::Durable, &n.to_string(), Some(&n.to_string())))).await;
    let claimed = claim_of(&*store, &everything(), request("a", 1, 9_999)).await.unwrap();
    let expected: Vec<String> = (0..5_000).map(|n| n.to_string()).collect();
    assert_eq!(work_names(&claimed), expected);
    let claims: Vec<Claim> = claimed.iter().map(|work| work.claim).collect();
    assert_eq!(store.renew_work(claims, at(60)).await.unwrap().len(), 5_000);
}

/// Does work, by the clock on the wall, for as long as there is any.
async fn work_off(store: Bench, owner: &'static str, done: Arc<Mutex<Vec<u32>>>) {
    while store.counts().await.unwrap().work > 0 {
        let now = SystemTime::now();
        let request = ClaimRequest { owner, now, lease_now: now, lease_until: now + LONG_LEASE, limit: 3 };
        for work in claim_of(&*store, &everything(), request).await.unwrap() {
            done.lock().unwrap().push(work.record.name.parse().unwrap());
            assert!(finish(&*store, work.claim).await, "`{owner}` finishes what it was given");
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

pub(super) async fn instances_keep_the_order_of_every_lane(store: Bench) {
    keep_work(&*store, (0..120).map(|n| piece(WorkKind::Durable, &n.to_string(), Some(&(n % 6).to_string())))).await;
    let done = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for owner in ["one", "two", "three"] {
        tasks.push(tokio::spawn(work_off(store.another().await, owner, Arc::clone(&done))));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let mut all = done.lock().unwrap().clone();
    assert_in_order(&all, 6);
    all.sort_unstable();
    assert_eq!(all, (0..120).collect::<Vec<u32>>(), "each piece is done, and once");
}

pub(super) async fn work_of_a_handler_that_was_not_asked_for_is_nobodys_alarm(store: Bench) {
    let newer = WorkRecord { handler: "mail::newer".to_owned(), ..piece(WorkKind::Durable, "newer", None) };
    let waits = WorkRecord { due_at: at(3), ..newer.clone() };
    keep_work(&*store, [newer, waits]).await;
    assert_eq!(next_due(&*store).await, None);
    assert!(claim_work(&*store, 9).await.is_empty());
    let theirs = [WorkQueue::durable("mail::newer")];
    assert_eq!(store.next_work_due(&theirs).await.unwrap(), Some(at(0)));
    let claimed = claim_of(&*store, &theirs, request("b", 9, 9)).await.unwrap();
    assert_eq!(work_names(&claimed), ["newer", "newer"]);
    // Nor is what ran out in another's hands taken back here.
    assert_eq!(next_due(&*store).await, None);
    assert!(claim_work(&*store, 60).await.is_empty());
    assert!(finish(&*store, claimed[0].claim).await, "it was not taken back");
}

pub(super) async fn work_that_is_put_off_was_not_attempted(store: Bench) {
    keep_work(&*store, [piece(WorkKind::Durable, "a", None)]).await;
    for round in [1, 10, 20] {
        let claimed = claim_work(&*store, round).await;
        let since = (round > 1).then(|| at(1));
        assert_eq!((claimed[0].record.attempts, claimed[0].deferred_since), (0, since), "since the first time");
        assert!(store.defer_work(claimed[0].claim, at(round), at(round + 5), "not here").await.unwrap());
        assert!(!store.defer_work(claimed[0].claim, at(round), at(round + 5), "not here").await.unwrap());
        assert_eq!(next_due(&*store).await, Some(at(round + 5)));
    }
    let claimed = claim_work(&*store, 30).await;
    assert_eq!(claimed[0].record.error.as_deref(), Some("not here"));
    assert!(store.retry_work(claimed[0].claim, at(30), "tried").await.unwrap());
    let claimed = claim_work(&*store, 30).await;
    assert_eq!(claimed[0].deferred_since, None, "somebody could do it");
    assert!(store.defer_work(claimed[0].claim, at(31), at(31), "not here").await.unwrap());
    let claimed = claim_work(&*store, 31).await;
    assert!(store.bury_work(claimed[0].claim, "given up", false).await.unwrap());
    let letter = store.dead_letters(1).await.unwrap()[0].id;
    assert!(store.replay(letter, at(40)).await.unwrap());
    assert_eq!(claim_work(&*store, 40).await[0].deferred_since, None, "replayed, it begins anew");
}

pub(super) async fn each_share_has_a_limit_of_its_own(store: Bench) {
    let rows = (0..6).flat_map(|_| [WorkKind::Command, WorkKind::Durable, WorkKind::Timer]);
    keep_work(&*store, rows.map(|kind| piece(kind, kind.as_str(), None))).await;
    let (commands, others) = ([queue(WorkKind::Command)], [queue(WorkKind::Durable), queue(WorkKind::Timer)]);
    let claim = async |first: usize, second: usize, limit| {
        let shares = [
            WorkShare { queues: &commands, limit: &move || first },
            WorkShare { queues: &others, limit: &move || second },
        ];
        store.claim_work(&shares, request("a", 1, limit)).await.unwrap()
    };
    let claimed = claim(1, 3, 9).await;
    assert_eq!(work_names(&claimed), ["command", "durable", "timer", "durable"]);
    let claimed = claim(0, 2, 9).await;
    assert_eq!(work_names(&claimed), ["timer", "durable"]);
    let claimed = claim(9, 9, 3).await;
    assert_eq!(work_names(&claimed), ["command", "command", "timer"], "the oldest, up to the limit of all");
}

pub(super) async fn how_much_there_is_room_for_is_asked_when_there_is_work(store: Bench) {
    let asked = AtomicUsize::new(0);
    let everything = everything();
    let limit = || {
        asked.fetch_add(1, Ordering::SeqCst);
        9
    };
    let shares = [WorkShare { queues: &everything, limit: &limit }];
    assert!(store.claim_work(&shares, request("a", 1, 9)).await.unwrap().is_empty());
    assert_eq!(asked.load(Ordering::SeqCst), 0, "there is nothing to claim");
    keep_work(&*store, [piece(WorkKind::Durable, "a", None)]).await;
    assert_eq!(work_names(&store.claim_work(&shares, request("a", 1, 9)).await.unwrap()), ["a"]);
    assert!(asked.load(Ordering::SeqCst) >= 1, "it was given without asking");
}

pub(super) async fn many_rows_of_one_lane_do_not_hide_what_is_behind_them(store: Bench) {
    keep_work(&*store, (0..2_500).map(|_| piece(WorkKind::Durable, "a", Some("a")))).await;
    keep_work(&*store, [piece(WorkKind::Durable, "b", Some("b")), piece(WorkKind::Durable, "c", None)]).await;
    let mut names = Vec::new();
    for _ in 0..20 {
        let claimed = claim_of(&*store, &everything(), request("a", 1, 8)).await.unwrap();
        names.extend(claimed.into_iter().map(|work| work.record.name));
    }
    names.sort_unstable();
    assert_eq!(names, ["a", "b", "c"], "in twenty claims");
}

pub(super) async fn a_crash_leaves_the_order_as_it_was(store: Bench) {
    keep_work(&*store, ["1", "2", "3"].map(|name| piece(WorkKind::Durable, name, Some("a")))).await;
    let first = claim_of(&*store, &everything(), request("one", 1, 9)).await.unwrap();
    // The unit of work never commits.
    let mut tx = store.begin().await.unwrap();
    assert!(tx.finish_work(first[0].claim).await.unwrap());
    drop(tx);
    let store = store.another().await;
    let mut turns = Turns::new(&*store, Table::Work, 1);
    let mut order = Vec::new();
    for _ in 0..20 {
        for given in turns.look("two", 9).await {
            turns.end(&given.name).await;
            order.push(given.name);
        }
    }
    assert_eq!(order, ["1", "2", "3"]);
}

pub(super) async fn a_letter_in_the_middle_keeps_its_place(store: Bench) {
    let mut rows = ["1", "2", "3", "4"].map(|name| piece(WorkKind::Durable, name, Some("a")));
    rows[1].dead = true;
    keep_work(&*store, rows).await;
    let first = claim_work(&*store, 1).await;
    assert_eq!(work_names(&first), ["1"]);
    let letter = store.dead_letters(9).await.unwrap()[0].id;
    assert!(store.replay(letter, at(2)).await.unwrap());
    assert!(claim_work(&*store, 2).await.is_empty(), "replayed, it stands behind the first");
    assert!(finish(&*store, first[0].claim).await);
    let second = claim_work(&*store, 2).await;
    assert_eq!(work_names(&second), ["2"]);
    assert!(store.bury_work(second[0].claim, "again", false).await.unwrap());
    assert!(claim_work(&*store, 3).await.is_empty());
    assert_eq!(store.free_stranded().await.unwrap(), 0, "nobody has deleted anything by hand");
    assert!(store.discard(letter).await.unwrap());
    assert_eq!(work_names(&claim_work(&*store, 3).await), ["3"]);
}
