//! What tests of several stores ask alike.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use uuid::Uuid;

use super::*;
use crate::store::driver::{ClaimRequest, Driver};
use crate::store::{OutboxOutcome, OutboxRecord, Record, WorkKind, WorkRecord};

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds)
}

fn event() -> OutboxRecord {
    OutboxRecord {
        id: Uuid::now_v7(),
        name: "placed".to_owned(),
        version: 1,
        topic: "orders".to_owned(),
        key: Some("k".to_owned()),
        payload: vec![1, 2, 3],
        headers: BTreeMap::new(),
        raised_at: at(0),
    }
}

fn work(kind: WorkKind, dead: bool) -> WorkRecord {
    WorkRecord {
        id: Uuid::now_v7(),
        kind,
        handler: String::new(),
        group: String::new(),
        name: "remind".to_owned(),
        version: 1,
        topic: String::new(),
        key: None,
        lane: None,
        timer_key: Some("7".to_owned()).filter(|_| kind == WorkKind::Timer),
        payload: vec![1, 2, 3],
        headers: BTreeMap::new(),
        created_at: at(0),
        due_at: at(60),
        attempts: 0,
        error: None,
        dead,
    }
}

/// Tries every operation after its entry can no longer be written: each fails, and changes nothing.
pub(in crate::store) async fn nothing_is_done_that_cannot_be_written_down(
    store: &dyn Driver,
    hide_audit: impl Future<Output = ()>,
) {
    let mut tx = store.begin().await.unwrap();
    let records = vec![Record::Work(work(WorkKind::Timer, false)), Record::Work(work(WorkKind::Command, true))];
    tx.store(records.into_iter().chain([event(), event()].map(Record::Outbox)).collect()).await.unwrap();
    tx.commit().await.unwrap();
    let request = ClaimRequest { owner: "a", now: at(1), lease_now: at(1), lease_until: at(5), limit: 1 };
    let claim = store.claim_outbox(request).await.unwrap()[0].claim;
    store.settle_outbox(vec![(claim, OutboxOutcome::Dead { error: "no".to_owned() })]).await.unwrap();
    let letters = store.dead_letters(9).await.unwrap();
    hide_audit.await;
    let key = TimerName::Key { name: "remind".to_owned(), key: "7".to_owned() };
    let mut operations = vec![
        Operation::Reschedule { timer: key.clone(), due: at(90) },
        Operation::Cancel(key),
        Operation::Requeue(OutboxId(claim.seq)),
    ];
    for letter in &letters {
        let id = letter.id;
        let edit = Operation::Edit { id, payload: Vec::new(), headers: BTreeMap::new() };
        operations.extend([Operation::Replay(id), Operation::Discard(id), edit]);
    }
    assert_eq!(operations.len(), 9);
    for operation in operations {
        let signed = Signed { by: "anna".to_owned(), at: at(9), note: String::new() };
        let error = store.operations().unwrap().operate(operation.clone(), signed).await.unwrap_err();
        assert!(format!("{error:?}").contains("cqrs_audit"), "{operation:?}: {error:?}");
    }
    assert_eq!(format!("{:?}", store.dead_letters(9).await.unwrap()), format!("{letters:?}"));
    assert_eq!(store.timers(9).await.unwrap()[0].due_at, at(60));
}
