//! What people who operate a service look at and do, and what is written down of it.

use std::collections::BTreeMap;
use std::time::SystemTime;

use uuid::Uuid;

use super::bench::{
    Bench, HANDLER, SOON, at, claim_messages, claim_work, finish, keep_messages, keep_work, message, message_names,
    next_due, piece, request, settle, timer, work_names,
};
use crate::store::driver::Driver;
use crate::store::{
    AuditAction, AuditChange, AuditSource, DeadFilter, DeadLetter, DeadLetterId, DeadSearch, DeadSource, Operation,
    Operations, OutboxId, OutboxOutcome, OutboxRecord, OutboxRow, OutboxSearch, OutboxState, Record, Signed,
    TimerFilter, TimerName, WorkKind, WorkRecord,
};

pub(super) fn of(store: &dyn Driver) -> &dyn Operations {
    store.operations().unwrap_or_else(|| panic!("the store gives out no operations"))
}

fn signed(seconds: u64) -> Signed {
    Signed { by: "anna".to_owned(), at: at(seconds), note: "ticket 7".to_owned() }
}

async fn operate(store: &dyn Driver, operation: Operation, seconds: u64) -> bool {
    of(store).operate(operation, signed(seconds)).await.unwrap()
}

async fn rows(store: &dyn Driver, state: OutboxState) -> Vec<OutboxRow> {
    let search = OutboxSearch { state, topic: None, after: None, limit: 100 };
    of(store).outbox_rows(search).await.unwrap()
}

fn names(rows: &[OutboxRow]) -> Vec<&str> {
    rows.iter().map(|row| row.record.name.as_str()).collect()
}

async fn find(store: &dyn Driver, filter: DeadFilter) -> Vec<DeadLetter> {
    let search = DeadSearch { filter, after: None, limit: 100, with_payload: true };
    of(store).find_dead(search).await.unwrap()
}

fn letter_names(letters: &[DeadLetter]) -> Vec<&str> {
    letters.iter().map(|letter| letter.name.as_str()).collect()
}

/// How many rows of the outbox are ready, wait, are parked, claimed and dead.
async fn counted(store: &dyn Driver) -> [u64; 5] {
    let status = of(store).outbox_status().await.unwrap();
    [status.ready, status.waiting, status.parked, status.claimed, status.dead]
}

/// A row that waits until 60, one that is dead with one behind it, one that is claimed, and one that is ready.
async fn one_of_each(store: &dyn Driver) {
    let raised = |name: &str, key: Option<&str>, seconds| OutboxRecord { raised_at: at(seconds), ..message(name, key) };
    keep_messages(store, [raised("waits", Some("w"), 3), raised("dies", Some("d"), 1), raised("busy", None, 4)]).await;
    let claimed = store.claim_outbox(request("a", 5, 3)).await.unwrap();
    assert_eq!(message_names(&claimed), ["waits", "dies", "busy"]);
    let waits = OutboxOutcome::Retry { due: at(60), error: "away".to_owned() };
    assert_eq!(settle(store, claimed[0].claim, waits).await, 1);
    let dies = OutboxOutcome::Dead { error: "refused".to_owned() };
    assert_eq!(settle(store, claimed[1].claim, dies).await, 1);
    let elsewhere = OutboxRecord { topic: "bills".to_owned(), ..raised("ready", None, 5) };
    keep_messages(store, [raised("behind", Some("d"), 5), elsewhere]).await;
    // Whoever comes by sets aside what is behind the dead one, and hands back what it takes.
    let passed = store.claim_outbox(request("a", 6, 100)).await.unwrap();
    assert_eq!(message_names(&passed), ["ready"]);
    assert_eq!(settle(store, passed[0].claim, OutboxOutcome::HandBack).await, 1);
}

pub(super) async fn the_outbox_is_told_by_states(store: Bench) {
    assert_eq!((counted(&*store).await, of(&*store).outbox_status().await.unwrap().oldest), ([0; 5], None));
    one_of_each(&*store).await;
    assert_eq!(counted(&*store).await, [1, 1, 1, 1, 1]);
    let oldest = of(&*store).outbox_status().await.unwrap().oldest;
    assert_eq!(oldest, Some(at(3)), "the dead one, which is older, does not count");
    let expected = ["ready", "waits", "behind", "busy", "dies"];
    for (state, expected) in OutboxState::ALL.into_iter().zip(expected) {
        let rows = rows(&*store, state).await;
        assert_eq!((names(&rows), rows[0].state), (vec![expected], state));
    }
    let waiting = &rows(&*store, OutboxState::Waiting).await[0];
    assert_eq!((waiting.attempts, waiting.error.as_deref(), waiting.due_at), (1, Some("away"), at(60)));
    assert_eq!((waiting.record.raised_at, waiting.record.key.as_deref()), (at(3), Some("w")));
    assert_eq!(waiting.record.payload, [0, 1, 254, 255]);
    assert_eq!(waiting.record.headers["traceparent"], "00-ä\"-01");
    assert_eq!(rows(&*store, OutboxState::Dead).await[0].error.as_deref(), Some("refused"));
}

pub(super) async fn rows_of_a_state_are_listed_page_by_page(store: Bench) {
    let all = (0..7).map(|n| OutboxRecord {
        topic: if n % 2 == 0 { "even".to_owned() } else { "odd".to_owned() },
        ..message(&n.to_string(), None)
    });
    keep_messages(&*store, all).await;
    let page = async |topic: Option<&str>, after, limit| {
        let topic = topic.map(str::to_owned);
        of(&*store).outbox_rows(OutboxSearch { state: OutboxState::Ready, topic, after, limit }).await.unwrap()
    };
    let first = page(None, None, 4).await;
    assert_eq!(names(&first), ["0", "1", "2", "3"]);
    assert_eq!(names(&page(None, Some(first[3].id), 4).await), ["4", "5", "6"]);
    assert_eq!(names(&page(Some("odd"), Some(first[1].id), 4).await), ["3", "5"]);
    assert!(page(Some("none"), None, 4).await.is_empty() && page(None, None, 0).await.is_empty());
}

pub(super) async fn a_row_that_waits_is_due_when_it_is_requeued(store: Bench) {
    one_of_each(&*store).await;
    keep_messages(&*store, [message("after", Some("w"))]).await;
    let id = rows(&*store, OutboxState::Waiting).await[0].id;
    assert!(operate(&*store, Operation::Requeue(id), 8).await);
    assert!(!operate(&*store, Operation::Requeue(id), 8).await, "it is ready");
    let claimed = claim_messages(&*store, 8).await;
    assert_eq!(message_names(&claimed), ["waits", "ready", "after"], "in the place it had");
    assert_eq!(claimed[0].attempts, 1, "what was attempted stays counted");
}

pub(super) async fn a_dead_row_is_requeued_as_it_is_replayed(store: Bench) {
    one_of_each(&*store).await;
    let id = rows(&*store, OutboxState::Dead).await[0].id;
    assert!(operate(&*store, Operation::Requeue(id), 8).await);
    let claimed = claim_messages(&*store, 8).await;
    assert_eq!(message_names(&claimed), ["dies", "behind", "ready"]);
    assert_eq!(claimed[0].attempts, 0);
    let (busy, none) = (rows(&*store, OutboxState::Claimed).await[0].id, OutboxId(id.0 + 1_000_000));
    for id in [busy, none] {
        assert!(!operate(&*store, Operation::Requeue(id), 8).await, "{id:?}");
    }
    assert_eq!(of(&*store).audit(None, 9).await.unwrap().len(), 1);
}

/// Dead letters of both kinds: `m1` to `m3`, `w1` to `w3`, made at the seconds of their numbers.
async fn six_dead(store: &dyn Driver) {
    let topics = ["orders", "orders", "bills"];
    let messages = (1..=3_u8).zip(topics).map(|(n, topic)| OutboxRecord {
        raised_at: at(n.into()),
        topic: topic.to_owned(),
        ..message(&format!("m{n}"), Some("k").filter(|_| n == 1))
    });
    keep_messages(store, messages).await;
    for row in claim_messages(store, 3).await {
        let dead = OutboxOutcome::Dead { error: format!("`{}` was refused: 100% Ä", row.record.name) };
        assert_eq!(settle(store, row.claim, dead).await, 1);
    }
    let groups = ["billing", "billing", "mail"];
    let pieces = (1..=3_u8).zip(groups).map(|(n, group)| WorkRecord {
        created_at: at(n.into()),
        group: group.to_owned(),
        handler: if n == 1 { "bills::pay".to_owned() } else { HANDLER.to_owned() },
        topic: "orders".to_owned(),
        dead: true,
        error: Some(format!("`w{n}` failed")),
        ..piece(WorkKind::Consumed, &format!("w{n}"), None)
    });
    keep_work(store, pieces).await;
}

pub(super) async fn dead_letters_are_found_by_all_that_is_said(store: Bench) {
    six_dead(&*store).await;
    let all = DeadFilter::new;
    for (filter, expected) in [
        (all(), vec!["m1", "w1", "m2", "w2", "m3", "w3"]),
        (all().topic("orders"), vec!["m1", "w1", "m2", "w2", "w3"]),
        (all().topic("bills"), vec!["m3"]),
        (all().group("billing"), vec!["w1", "w2"]),
        (all().group(""), vec!["m1", "m2", "m3"]),
        (all().handler(HANDLER), vec!["w2", "w3"]),
        (all().name("m2"), vec!["m2"]),
        (all().name("M2"), vec![]),
        (all().error("refused"), vec!["m1", "m2", "m3"]),
        (all().error("w2` failed"), vec!["w2"]),
        (all().error("100% Ä"), vec!["m1", "m2", "m3"]),
        (all().error("%"), vec!["m1", "m2", "m3"]),
        (all().since(at(3)), vec!["m3", "w3"]),
        (all().until(at(1)), vec!["m1", "w1"]),
        (all().since(at(2)).until(at(2)).topic("orders").error("refused"), vec!["m2"]),
    ] {
        let found = find(&*store, filter.clone()).await;
        assert_eq!(letter_names(&found), expected, "{filter}");
        assert!(found.iter().all(|letter| filter.takes(letter)), "{filter}");
    }
}

pub(super) async fn dead_letters_are_found_page_by_page(store: Bench) {
    six_dead(&*store).await;
    let more =
        ["w4", "w5"].map(|name| WorkRecord { dead: true, created_at: at(2), ..piece(WorkKind::Consumed, name, None) });
    keep_work(&*store, more).await;
    let (mut after, mut found) = (None, Vec::new());
    loop {
        let search = DeadSearch { filter: DeadFilter::new(), after, limit: 1, with_payload: false };
        let page = of(&*store).find_dead(search).await.unwrap();
        let [letter] = &page[..] else {
            assert!(page.is_empty(), "one at a time");
            break;
        };
        assert!(letter.payload.is_empty(), "it was not asked for");
        after = Some((letter.created_at, letter.id));
        found.push(letter.name.clone());
    }
    assert_eq!(found, ["m1", "w1", "m2", "w2", "w4", "w5", "m3", "w3"]);
}

pub(super) async fn a_dead_letter_is_shown_whole(store: Bench) {
    six_dead(&*store).await;
    for letter in find(&*store, DeadFilter::new()).await {
        let shown = of(&*store).dead_letter(letter.id).await.unwrap().unwrap();
        assert_eq!((&shown.name, &shown.error, &shown.payload), (&letter.name, &letter.error, &letter.payload));
        assert_eq!((&shown.headers, shown.attempts, &shown.group), (&letter.headers, letter.attempts, &letter.group));
        assert!(!shown.payload.is_empty());
        assert!(operate(&*store, Operation::Replay(letter.id), 9).await);
        assert!(of(&*store).dead_letter(letter.id).await.unwrap().is_none(), "it is dead no more");
    }
}

pub(super) async fn an_edited_letter_is_replayed_as_it_is_now(store: Bench) {
    keep_messages(&*store, ["m1", "m2"].map(|name| message(name, Some("k")))).await;
    let claimed = store.claim_outbox(request("a", 1, 1)).await.unwrap();
    assert_eq!(settle(&*store, claimed[0].claim, OutboxOutcome::Dead { error: "refused".to_owned() }).await, 1);
    keep_work(&*store, ["w1", "w2"].map(|name| piece(WorkKind::Durable, name, Some("lane")))).await;
    let work = claim_work(&*store, 1).await[0].claim;
    assert!(store.bury_work(work, "failed", false).await.unwrap());
    let headers = BTreeMap::from([("mended".to_owned(), "ja ä".to_owned())]);
    for letter in find(&*store, DeadFilter::new()).await {
        let edit = Operation::Edit { id: letter.id, payload: vec![7, 0, 255], headers: headers.clone() };
        assert!(operate(&*store, edit.clone(), 9).await);
        assert!(!operate(&*store, edit, 9).await, "it is dead no more");
    }
    let events = claim_messages(&*store, 9).await;
    assert_eq!(message_names(&events), ["m1", "m2"]);
    assert_eq!((&events[0].record.payload, &events[0].record.headers), (&vec![7, 0, 255], &headers));
    assert_eq!((events[0].attempts, &events[1].record.payload), (0, &vec![0, 1, 254, 255]));
    let work = claim_work(&*store, 9).await;
    assert_eq!(work_names(&work), ["w1"]);
    assert_eq!((&work[0].record.payload, &work[0].record.headers), (&vec![7, 0, 255], &headers));
    assert_eq!((work[0].record.attempts, &work[0].record.error), (0, &None));
    assert!(finish(&*store, work[0].claim).await);
    assert_eq!(work_names(&claim_work(&*store, 9).await), ["w2"]);
}

pub(super) async fn timers_are_found_by_name_and_key(store: Bench) {
    let timers = [("remind", "7", 60), ("remind", "8", 50), ("other", "7", 40), ("Remind", "7 ", 30)];
    keep_work(&*store, timers.map(|(name, key, due)| timer(name, key, at(due)))).await;
    let busy = WorkRecord { created_at: at(1), ..timer("remind", "9", at(1)) };
    keep_work(&*store, [busy, piece(WorkKind::Command, "remind", None)]).await;
    assert_eq!(claim_work(&*store, 1).await.len(), 2);
    let all = TimerFilter::new;
    for (filter, limit, expected) in [
        (all(), 9, vec![30, 40, 50, 60]),
        (all(), 2, vec![30, 40]),
        (all().name("remind"), 9, vec![50, 60]),
        (all().key("7"), 9, vec![40, 60]),
        (all().name("remind").key("7"), 9, vec![60]),
        (all().name("remind").key("9"), 9, vec![]),
        (all().name("remind"), 0, vec![]),
    ] {
        let found = of(&*store).find_timers(filter.clone(), limit).await.unwrap();
        let due: Vec<SystemTime> = found.iter().map(|timer| timer.due_at).collect();
        assert_eq!(due, expected.into_iter().map(at).collect::<Vec<_>>(), "{filter:?}");
    }
}

fn keyed(name: &str, key: &str) -> TimerName {
    TimerName::Key { name: name.to_owned(), key: key.to_owned() }
}

pub(super) async fn a_timer_is_moved_by_id_and_by_key(store: Bench) {
    let (first, keyless) =
        (timer("remind", "7", at(60)), WorkRecord { timer_key: None, ..timer("remind", "", at(70)) });
    keep_work(&*store, [first.clone(), keyless.clone(), timer("remind", "8", at(80))]).await;
    let moved = |timer, due| Operation::Reschedule { timer, due: at(due) };
    assert!(operate(&*store, moved(keyed("remind", "7"), 20), 1).await);
    assert!(operate(&*store, moved(TimerName::Id(keyless.id), 10), 1).await);
    assert!(!operate(&*store, moved(keyed("Remind", "7"), 5), 1).await, "told apart byte by byte");
    assert!(!operate(&*store, moved(TimerName::Id(Uuid::now_v7()), 5), 1).await);
    let timers: Vec<_> = store.timers(9).await.unwrap().into_iter().map(|timer| (timer.id, timer.due_at)).collect();
    assert_eq!(timers[..2], [(keyless.id, at(10)), (first.id, at(20))], "they keep their ids");
    assert_eq!(next_due(&*store).await, Some(at(10)));
    assert!(operate(&*store, moved(TimerName::Id(keyless.id), 90), 1).await, "later, too");
    let claimed = claim_work(&*store, 20).await;
    assert_eq!(claimed.iter().map(|work| work.record.id).collect::<Vec<_>>(), [first.id]);
    assert!(!operate(&*store, moved(keyed("remind", "7"), 30), 21).await, "it is being done");
    assert!(!operate(&*store, moved(TimerName::Id(first.id), 30), 21).await);
    // One that waits for its retry begins anew; one that is dead stays where it is.
    assert!(store.retry_work(claimed[0].claim, at(40), "away").await.unwrap());
    assert!(operate(&*store, moved(keyed("remind", "7"), 25), 22).await);
    let claimed = claim_work(&*store, 25).await;
    assert_eq!((claimed[0].record.id, claimed[0].record.attempts), (first.id, 0));
    assert!(store.bury_work(claimed[0].claim, "never", false).await.unwrap());
    assert!(!operate(&*store, moved(TimerName::Id(first.id), 30), 26).await);
    assert_eq!(store.counts().await.unwrap().timers, 2);
}

pub(super) async fn of_timers_under_one_key_the_last_is_moved(store: Bench) {
    keep_work(&*store, [timer("remind", "7", at(1))]).await;
    let claimed = claim_work(&*store, 1).await;
    let second = timer("remind", "7", at(60));
    keep_work(&*store, [second.clone()]).await;
    assert!(store.retry_work(claimed[0].claim, at(30), "away").await.unwrap());
    assert_eq!(store.timers(9).await.unwrap().len(), 2);
    assert!(operate(&*store, Operation::Reschedule { timer: keyed("remind", "7"), due: at(90) }, 2).await);
    let timers: Vec<_> = store.timers(9).await.unwrap().into_iter().map(|timer| (timer.id, timer.due_at)).collect();
    assert_eq!(timers, [(second.id, at(90))]);
}

pub(super) async fn a_timer_is_cancelled_by_id_and_by_key(store: Bench) {
    let timers = ["7", "8", "9"].map(|key| timer("remind", key, at(60)));
    keep_work(&*store, timers.clone()).await;
    assert!(operate(&*store, Operation::Cancel(TimerName::Id(timers[0].id)), 1).await);
    assert!(!operate(&*store, Operation::Cancel(TimerName::Id(timers[0].id)), 1).await);
    assert!(operate(&*store, Operation::Cancel(keyed("remind", "8")), 1).await);
    assert_eq!(store.timers(9).await.unwrap()[0].id, timers[2].id);
    let claimed = claim_work(&*store, 60).await;
    assert!(!operate(&*store, Operation::Cancel(keyed("remind", "9")), 61).await, "it is being done");
    assert!(finish(&*store, claimed[0].claim).await);
}

pub(super) async fn a_timer_that_a_unit_moves_is_not_cancelled_halfway(store: Bench) {
    keep_work(&*store, [timer("remind", "7", at(60))]).await;
    let mut tx = store.begin().await.unwrap();
    tx.store(vec![Record::Work(timer("remind", "7", at(90)))]).await.unwrap();
    let other = store.clone();
    let cancel = tokio::spawn(async move { operate(&*other, Operation::Cancel(keyed("remind", "7")), 1).await });
    tokio::time::sleep(SOON).await;
    tx.commit().await.unwrap();
    let cancelled = cancel.await.unwrap();
    // Whether it saw what the unit stored or came too early for it: there is one timer or none, never half of each.
    let left = store.timers(9).await.unwrap();
    assert!(left.len() <= 1, "{left:?}");
    assert!(left.iter().all(|timer| timer.due_at == at(90)), "{left:?}");
    assert_eq!(of(&*store).audit(None, 9).await.unwrap().len(), usize::from(cancelled));
}

pub(super) async fn what_was_done_is_written_down(store: Bench) {
    six_dead(&*store).await;
    keep_work(&*store, [timer("remind", "7", at(60)), timer("remind", "8", at(60))]).await;
    let letters = find(&*store, DeadFilter::new()).await;
    let id = |name: &str| letters.iter().find(|letter| letter.name == name).unwrap().id;
    let (m3, headers) = (OutboxId(id("m3").seq), BTreeMap::new());
    let operations = [
        Operation::Replay(id("m1")),
        Operation::Discard(id("w1")),
        Operation::Edit { id: id("w2"), payload: vec![1; 10], headers: headers.clone() },
        Operation::Edit { id: id("m2"), payload: Vec::new(), headers },
        Operation::Requeue(m3),
        Operation::Reschedule { timer: keyed("remind", "7"), due: at(90) },
        Operation::Cancel(keyed("remind", "8")),
    ];
    for (seconds, operation) in (100..).zip(operations.clone()) {
        assert!(operate(&*store, operation, seconds).await);
    }
    let nothing = DeadLetterId { source: DeadSource::Work, seq: id("w1").seq };
    assert!(!operate(&*store, Operation::Replay(nothing), 200).await);
    let mut entries = of(&*store).audit(None, 100).await.unwrap();
    entries.reverse();
    let actions = operations.iter().map(Operation::action).collect::<Vec<_>>();
    assert_eq!(entries.iter().map(|entry| entry.action).collect::<Vec<_>>(), actions, "latest first");
    let names: Vec<_> = entries.iter().map(|entry| (entry.name.as_str(), entry.key.as_deref())).collect();
    let expected = [("m1", Some("k")), ("w1", None), ("w2", None), ("m2", None), ("m3", None)];
    assert_eq!(names, [&expected[..], &[("remind", Some("7")), ("remind", Some("8"))]].concat());
    for (seconds, entry) in (100..).zip(&entries) {
        assert_eq!((entry.by.as_str(), entry.at, entry.note.as_str()), ("anna", at(seconds), "ticket 7"));
    }
    let letter = letters.iter().find(|letter| letter.name == "w2").unwrap();
    let edited = (entries[2].source, entries[2].row, entries[2].message_id);
    assert_eq!(edited, (AuditSource::Work, letter.id.seq, letter.message_id));
    let changes: Vec<_> = entries.iter().filter_map(|entry| entry.change).collect();
    let due = AuditChange::Due { before: at(60), after: at(90) };
    let sizes = [(3, 10), (4, 0)].map(|(before, after)| AuditChange::Size { before, after });
    assert_eq!(changes, [sizes[0], sizes[1], due]);
    assert_eq!(entries[1].action, AuditAction::Discard);
}

pub(super) async fn what_was_done_is_read_page_by_page_and_forgotten_in_time(store: Bench) {
    keep_work(&*store, (0..5).map(|n| timer("remind", &n.to_string(), at(60)))).await;
    for n in 0..5 {
        assert!(operate(&*store, Operation::Cancel(keyed("remind", &n.to_string())), n).await);
    }
    let keys = async |before, limit| {
        let entries = of(&*store).audit(before, limit).await.unwrap();
        let last = entries.last().map(|entry| entry.seq);
        (entries.into_iter().filter_map(|entry| entry.key).collect::<Vec<_>>(), last)
    };
    let (first, last) = keys(None, 2).await;
    assert_eq!(first, ["4", "3"]);
    assert_eq!(keys(last, 2).await.0, ["2", "1"]);
    assert!(keys(None, 0).await.0.is_empty());
    assert_eq!(of(&*store).purge_audit(at(3)).await.unwrap(), 3);
    assert_eq!(keys(None, 9).await.0, ["4", "3"]);
    assert_eq!(of(&*store).purge_audit(at(3)).await.unwrap(), 0);
}

pub(super) async fn of_two_at_once_one_does_it(store: Bench) {
    six_dead(&*store).await;
    let other = store.another().await;
    for letter in find(&*store, DeadFilter::new()).await {
        let (one, another) = (Operation::Replay(letter.id), Operation::Discard(letter.id));
        let done = tokio::join!(operate(&*store, one, 9), operate(&*other, another, 9));
        assert_ne!(done.0, done.1, "{letter:?}");
    }
    assert_eq!(of(&*store).audit(None, 100).await.unwrap().len(), 6);
    assert_eq!(store.counts().await.unwrap().dead, 0);
}
