//! Keys, lanes and names that no person has made up: the key of a message is whatever the bytes of another program read as, zeros
//! included.

use super::bench::{
    Bench, at, claim_messages, claim_work, finish, keep_messages, keep_work, mark, message, message_names, piece,
    settle, timer, work_names,
};
use crate::store::driver::Driver;
use crate::store::{
    AuditAction, DeadFilter, DeadSearch, Operation, OutboxOutcome, OutboxRecord, OutboxSearch, OutboxState, Signed,
    Standing, TimerFilter, TimerName, WorkKind, WorkRecord,
};
use uuid::Uuid;

/// Texts that a store may be tempted to take for one another.
const ODD: [&str; 6] = ["\0\0\0\u{7}", "\0\0\u{7}", "\0", "\u{1a}0", "\u{1a}", "\\0"];

pub(super) async fn keys_and_names_with_a_nul_come_back_as_they_were(store: Bench) {
    let messages = ODD.map(|text| message(text, Some(text)));
    keep_messages(&*store, messages.clone()).await;
    let claimed = claim_messages(&*store, 1).await;
    assert_eq!(claimed.iter().map(|row| &row.record).collect::<Vec<_>>(), messages.iter().collect::<Vec<_>>());
    let pieces = ODD.map(|text| piece(WorkKind::Durable, text, Some(text)));
    keep_work(&*store, pieces.clone()).await;
    let claimed = claim_work(&*store, 1).await;
    assert_eq!(claimed.iter().map(|row| &row.record).collect::<Vec<_>>(), pieces.iter().collect::<Vec<_>>());
}

pub(super) async fn lanes_with_a_nul_keep_their_order_and_no_other(store: Bench) {
    let (one, two) = ("k\0", "k\0\0");
    keep_messages(&*store, [("m1", one), ("m2", one), ("m3", two)].map(|(name, key)| message(name, Some(key)))).await;
    let claimed = claim_messages(&*store, 1).await;
    assert_eq!(message_names(&claimed), ["m1", "m2", "m3"]);
    for (row, outcome) in claimed.iter().zip([dead(), OutboxOutcome::HandBack, OutboxOutcome::Published]) {
        assert_eq!(settle(&*store, row.claim, outcome).await, 1);
    }
    assert!(claim_messages(&*store, 2).await.is_empty(), "`m2` is behind a dead one");
    keep_work(
        &*store,
        [("w1", one), ("w2", one), ("w3", two)].map(|(name, key)| piece(WorkKind::Durable, name, Some(key))),
    )
    .await;
    let claimed = claim_work(&*store, 1).await;
    assert_eq!(work_names(&claimed), ["w1", "w3"]);
    assert_eq!(standing(&*store, one).await, Standing::Behind);
    assert_eq!(standing(&*store, "k").await, Standing::New);
    let mut tx = store.begin().await.unwrap();
    assert!(tx.lane_is_held(one).await.unwrap() && !tx.lane_is_held("k").await.unwrap());
    drop(tx);
    assert!(finish(&*store, claimed[0].claim).await);
    assert_eq!(work_names(&claim_work(&*store, 2).await), ["w2"]);
    for letter in store.dead_letters(9).await.unwrap() {
        assert_eq!((letter.name.as_str(), letter.key.as_deref()), ("m1", Some(one)));
        assert!(store.discard(letter.id).await.unwrap());
    }
    assert_eq!(message_names(&claim_messages(&*store, 3).await), ["m2"]);
}

fn dead() -> OutboxOutcome {
    OutboxOutcome::Dead { error: "refused".to_owned() }
}

async fn standing(store: &dyn Driver, lane: &str) -> Standing {
    store.standing(&mark("a", Uuid::now_v7()), Some(lane)).await.unwrap()
}

pub(super) async fn timers_with_a_nul_are_moved_and_cancelled(store: Bench) {
    let (first, other) = (timer("re\0mind", "\0", at(60)), timer("re\0mind", "\0\0", at(70)));
    keep_work(&*store, [first.clone(), other]).await;
    keep_work(&*store, [timer("re\0mind", "\0", at(80))]).await;
    let timers = store.timers(9).await.unwrap();
    let found: Vec<_> = timers.iter().map(|timer| (timer.name.as_str(), timer.key.as_deref(), timer.due_at)).collect();
    assert_eq!(found, [("re\0mind", Some("\0\0"), at(70)), ("re\0mind", Some("\0"), at(80))]);
    assert_eq!(timers[1].id, first.id, "it is the same timer");
    assert!(store.cancel_timer("re\0mind", "\0").await.unwrap());
    assert!(!store.cancel_timer("re\0mind", "\0").await.unwrap());
    assert_eq!(store.timers(9).await.unwrap().len(), 1);
}

/// An error is there to be read: what cannot be shown of it may be kept as U+FFFD.
pub(super) async fn errors_and_headers_with_a_nul_are_kept(store: Bench) {
    const ERROR: &str = "an \0 odd error";
    let is_kept = |error: &str| assert!([ERROR, "an \u{fffd} odd error"].contains(&error), "{error:?}");
    let mut odd = message("m", None);
    odd.headers.insert("h\0".to_owned(), "v\0".to_owned());
    keep_messages(&*store, [odd.clone(), message("again", None)]).await;
    let stored = WorkRecord { error: Some(ERROR.to_owned()), dead: true, ..piece(WorkKind::Durable, "stored", None) };
    keep_work(&*store, [stored, piece(WorkKind::Durable, "buried", None), piece(WorkKind::Durable, "again", None)])
        .await;
    let rows = claim_messages(&*store, 1).await;
    assert_eq!(rows[0].record.headers, odd.headers);
    assert_eq!(settle(&*store, rows[0].claim, OutboxOutcome::Dead { error: ERROR.to_owned() }).await, 1);
    let retry = OutboxOutcome::Retry { due: at(90), error: ERROR.to_owned() };
    assert_eq!(settle(&*store, rows[1].claim, retry).await, 1);
    let work = claim_work(&*store, 1).await;
    assert!(store.bury_work(work[0].claim, ERROR, false).await.unwrap());
    assert!(store.retry_work(work[1].claim, at(2), ERROR).await.unwrap());
    let work = claim_work(&*store, 2).await;
    is_kept(work[0].record.error.as_deref().unwrap());
    assert!(store.defer_work(work[0].claim, at(3), at(4), ERROR).await.unwrap());
    let letters = store.dead_letters(9).await.unwrap();
    assert_eq!(letters.len(), 3);
    for letter in &letters {
        is_kept(&letter.error);
    }
}

/// Who did something and what they say of it is there to be read, as an error is.
pub(super) async fn operations_with_a_nul_are_done_and_written_down(store: Bench) {
    let operations = store.operations().unwrap_or_else(|| panic!("the store gives out no operations"));
    let (name, key) = ("re\0mind", "\0");
    let event = OutboxRecord { topic: "or\0ders".to_owned(), ..message("e\0", Some(key)) };
    keep_messages(&*store, [event, message("e", Some("k"))]).await;
    keep_work(&*store, [timer(name, key, at(60)), timer(name, "\0\0", at(70))]).await;
    for row in claim_messages(&*store, 1).await {
        let dead = OutboxOutcome::Dead { error: "an \0 odd error".to_owned() };
        assert_eq!(settle(&*store, row.claim, dead).await, 1);
    }
    let topic = Some("or\0ders".to_owned());
    let search = OutboxSearch { state: OutboxState::Dead, topic, after: None, limit: 9 };
    assert_eq!(operations.outbox_rows(search).await.unwrap()[0].record.name, "e\0");
    let filter = DeadFilter::new().topic("or\0ders").name("e\0").error("\0 odd");
    let search = DeadSearch { filter, after: None, limit: 9, with_payload: false };
    let letters = operations.find_dead(search).await.unwrap();
    assert_eq!(letters.iter().map(|letter| letter.name.as_str()).collect::<Vec<_>>(), ["e\0"]);
    let timers = operations.find_timers(TimerFilter::new().name(name).key(key), 9).await.unwrap();
    assert_eq!(timers.iter().map(|timer| timer.due_at).collect::<Vec<_>>(), [at(60)]);

    let named = |key: &str| TimerName::Key { name: name.to_owned(), key: key.to_owned() };
    for operation in [
        Operation::Discard(letters[0].id),
        Operation::Reschedule { timer: named(key), due: at(80) },
        Operation::Cancel(named("\0\0")),
    ] {
        let signed = Signed { by: "an\0na".to_owned(), at: at(9), note: "ticket\0 7".to_owned() };
        assert!(operations.operate(operation.clone(), signed).await.unwrap(), "{operation:?}");
    }
    let left = store.timers(9).await.unwrap();
    assert_eq!(
        left.iter().map(|timer| (timer.key.as_deref(), timer.due_at)).collect::<Vec<_>>(),
        [(Some(key), at(80))]
    );
    let mut entries = operations.audit(None, 9).await.unwrap();
    entries.reverse();
    let done: Vec<_> = entries.iter().map(|entry| (entry.action, entry.name.as_str(), entry.key.as_deref())).collect();
    let expected = [
        (AuditAction::Discard, "e\0", Some(key)),
        (AuditAction::Reschedule, name, Some(key)),
        (AuditAction::Cancel, name, Some("\0\0")),
    ];
    assert_eq!(done, expected);
    for entry in &entries {
        let said = (entry.by.as_str(), entry.note.as_str());
        assert!([("an\0na", "ticket\0 7"), ("an\u{fffd}na", "ticket\u{fffd} 7")].contains(&said), "{said:?}");
    }
}
