//! Counts and what waits where; the schema.

use super::bench::{
    Bench, HANDLER, at, claim_messages, claim_of, claim_work, finish, keep_messages, keep_work, message, message_names,
    piece, queue, request, settle, timer, work_names,
};
use crate::store::{Counts, OutboxOutcome, WorkKind, WorkQueue, WorkRecord};

pub(super) async fn a_schema_that_is_up_to_date_stays_as_it_is(store: Bench) {
    keep_messages(&*store, [message("kept", None)]).await;
    store.migrate().await.unwrap();
    let other = store.another().await;
    assert_eq!(message_names(&claim_messages(&*other, 1).await), ["kept"]);
}

pub(super) async fn everything_is_counted(store: Bench) {
    assert_eq!(store.counts().await.unwrap(), Counts::default(), "the fixture is to give an empty store");
    keep_messages(&*store, ["1", "2", "3"].map(|name| message(name, Some("k")))).await;
    keep_work(&*store, ["1", "2"].map(|name| piece(WorkKind::Durable, name, Some("a")))).await;
    keep_work(&*store, [timer("remind", "7", at(60))]).await;
    let expected = Counts { outbox: 3, work: 3, timers: 1, ..Counts::default() };
    assert_eq!(store.counts().await.unwrap(), expected);
    let event = store.claim_outbox(request("a", 1, 1)).await.unwrap()[0].claim;
    let work = claim_work(&*store, 1).await[0].claim;
    assert_eq!(store.counts().await.unwrap(), Counts { claimed: 2, ..expected });
    assert_eq!(settle(&*store, event, OutboxOutcome::Dead { error: "refused".to_owned() }).await, 1);
    assert!(store.bury_work(work, "failed", false).await.unwrap());
    let expected = Counts { outbox: 2, work: 2, dead: 2, ..expected };
    assert_eq!(store.counts().await.unwrap(), expected);
    assert!(claim_messages(&*store, 2).await.is_empty() && claim_work(&*store, 2).await.is_empty());
    assert_eq!(store.counts().await.unwrap(), expected, "what is held back is there as before");
}

pub(super) async fn what_waits_is_counted_by_queue(store: Bench) {
    let consumed = WorkRecord { group: "billing".to_owned(), ..piece(WorkKind::Consumed, "consumed", None) };
    let dead = WorkRecord { dead: true, ..piece(WorkKind::Command, "dead", None) };
    let later = WorkRecord { due_at: at(500), ..piece(WorkKind::Durable, "later", None) };
    keep_work(&*store, [piece(WorkKind::Durable, "first", Some("a")), consumed, dead, later]).await;
    keep_work(&*store, [piece(WorkKind::Durable, "behind", Some("a"))]).await;
    let (durable, consumed) = (queue(WorkKind::Durable), WorkQueue::consumed("billing", HANDLER));
    let counted = async |seconds| {
        let mut counted = store.work_by_queue(at(seconds)).await.unwrap();
        counted.retain(|(_, pieces)| *pieces > 0);
        counted.sort();
        counted
    };
    assert_eq!(counted(1).await, [(durable.clone(), 3), (consumed.clone(), 1)]);
    let claimed = claim_of(&*store, std::slice::from_ref(&durable), request("a", 9, 9)).await.unwrap();
    assert_eq!(work_names(&claimed), ["first"]);
    assert_eq!(counted(13).await, [(durable.clone(), 2), (consumed.clone(), 1)], "somebody is busy with it");
    assert_eq!(counted(15).await, [(durable.clone(), 3), (consumed, 1)], "its claim has run out");
    assert!(finish(&*store, claimed[0].claim).await);
    assert_eq!(counted(15).await[0], (durable, 2));
}
