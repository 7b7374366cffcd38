//! Names, keys and errors of any characters and any length: anybody may write them on a topic.

use super::*;
use crate::store::{DeadSource, InboxMark, Standing, StoreErrorKind};

/// What is like a NUL to some: nothing, the way it is stored, and parts of that.
const ALIKE: [&str; 6] = ["key", "key\0", "key\u{10FFFF}", "key\u{10FFFF}0", "key\u{10FFFF}1", "key\0\u{10FFFF}"];

/// Letters and digits that no index makes shorter.
fn incompressible(length: usize) -> String {
    let mut text: String =
        std::iter::repeat_with(|| Uuid::new_v4().simple().to_string()).take(length / 32 + 1).collect();
    text.truncate(length);
    text
}

fn consumed(text: &str) -> WorkRecord {
    WorkRecord {
        id: Uuid::now_v7(),
        kind: WorkKind::Consumed,
        handler: "handler".to_owned(),
        group: "group".to_owned(),
        name: text.to_owned(),
        version: 1,
        topic: text.to_owned(),
        key: Some(text.to_owned()),
        lane: Some(text.to_owned()),
        timer_key: None,
        payload: text.as_bytes().to_vec(),
        headers: BTreeMap::from([(text.to_owned(), text.to_owned())]),
        created_at: at(0),
        due_at: at(0),
        attempts: 0,
        error: Some(text.to_owned()),
        dead: false,
    }
}

#[tokio::test]
async fn g11_work_with_a_name_a_key_and_an_error_of_any_kind_is_kept_and_comes_back_whole() {
    let (_schema, store) = fresh().await;
    let mut texts: Vec<String> = ALIKE.map(str::to_owned).into();
    texts.push(incompressible(40_000));
    let records: Vec<WorkRecord> = texts.iter().map(|text| consumed(text)).collect();
    let mut tx = store.begin().await.unwrap();
    tx.store(records.iter().cloned().map(Record::Work).collect()).await.unwrap();
    for text in &texts {
        assert!(tx.lane_is_held(text).await.unwrap());
    }
    assert!(!tx.lane_is_held("key\u{10FFFF}2").await.unwrap());
    assert!(!tx.lane_is_held(&incompressible(40_000)).await.unwrap());
    tx.commit().await.unwrap();
    let mark =
        InboxMark { group: "group".to_owned(), handler: "handler".to_owned(), event_id: Uuid::now_v7(), at: at(0) };
    for text in &texts {
        assert_eq!(store.standing(&mark, Some(text)).await.unwrap(), Standing::Behind);
    }

    let queue = WorkQueue { kind: WorkKind::Consumed, group: "group".to_owned(), handler: "handler".to_owned() };
    let limit = || 99;
    let share = [WorkShare { queues: std::slice::from_ref(&queue), limit: &limit }];
    let claimed = store.claim_work(&share, request("a", 1, usize::MAX)).await.unwrap();
    assert_eq!(claimed.len(), texts.len(), "lanes of their own");
    for (work, record) in claimed.iter().zip(&records) {
        let read = |record: &WorkRecord| {
            (record.id, record.name.clone(), record.topic.clone(), record.key.clone(), record.headers.clone())
        };
        assert_eq!(read(&work.record), read(record));
    }
    assert!(store.retry_work(claimed[0].claim, at(1), "an error with a \0").await.unwrap());
    for work in &claimed[1..] {
        assert!(store.bury_work(work.claim, "an error with a \0", false).await.unwrap());
    }
    let dead = store.dead_letters(99).await.unwrap();
    assert_eq!(dead.len(), texts.len() - 1);
    for (letter, text) in dead.iter().zip(&texts[1..]) {
        assert_eq!((&letter.name, &letter.topic, letter.key.as_ref()), (text, text, Some(text)));
        assert_eq!((letter.id.source, letter.error.as_str()), (DeadSource::Work, "an error with a \u{2400}"));
    }
}

#[tokio::test]
async fn an_event_whose_key_could_not_be_held_back_is_refused_at_once() {
    let (_schema, store) = fresh().await;
    let mut tx = store.begin().await.unwrap();
    let long = message("long", Some(&incompressible(3_000)));
    let error = tx.store(vec![Record::Outbox(long)]).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Database);
    assert!(error.to_string().contains("give the event a shorter key"), "{error}");
    drop(tx);
    keep_messages(&store, [message("longest", Some(&incompressible(1_994)))]).await;
    let claimed = claim(&store, 1, 9).await;
    let dead = OutboxOutcome::Dead { error: "an error with a \0".to_owned() };
    assert_eq!(settle(&store, &claimed, &dead).await, 1);
    assert_eq!(store.dead_letters(9).await.unwrap()[0].error, "an error with a \u{2400}");
}
