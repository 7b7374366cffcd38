//! Dead letters: listed, replayed in their place, discarded.

use super::bench::{
    Bench, HANDLER, at, claim_messages, claim_work, finish, keep_messages, keep_work, message, message_names, next_due,
    piece, request, settle, work_names,
};
use crate::store::driver::Driver;
use crate::store::{DeadLetterId, DeadSource, OutboxOutcome, OutboxRecord, WorkKind, WorkRecord};

async fn two_dead(store: &dyn Driver) {
    let early = OutboxRecord { raised_at: at(5), ..message("m1", Some("k")) };
    keep_messages(store, [early, message("m2", Some("k"))]).await;
    let late = |name| WorkRecord {
        created_at: at(9),
        due_at: at(9),
        group: "billing".to_owned(),
        topic: "orders".to_owned(),
        ..piece(WorkKind::Consumed, name, Some("lane"))
    };
    keep_work(store, [late("w1"), late("w2")]).await;
    let claimed = store.claim_outbox(request("a", 10, 1)).await.unwrap();
    let outcome = OutboxOutcome::Dead { error: "refused".to_owned() };
    assert_eq!(settle(store, claimed[0].claim, outcome).await, 1);
    let work = claim_work(store, 10).await;
    assert!(store.bury_work(work[0].claim, "failed", false).await.unwrap());
}

pub(super) async fn both_kinds_are_listed_oldest_first(store: Bench) {
    two_dead(&*store).await;
    let letters = store.dead_letters(9).await.unwrap();
    assert_eq!(letters.iter().map(|letter| letter.name.as_str()).collect::<Vec<_>>(), ["m1", "w1"]);
    let (message, work) = (&letters[0], &letters[1]);
    assert_eq!((message.id.source, message.topic.as_str(), message.created_at), (DeadSource::Outbox, "orders", at(5)));
    assert_eq!((message.key.as_deref(), message.error.as_str(), message.attempts), (Some("k"), "refused", 1));
    assert_eq!((message.version, message.payload.as_slice()), (1, [0, 1, 254, 255].as_slice()));
    assert_eq!(message.headers["traceparent"], "00-ä\"-01");
    let place = (work.id.source, work.handler.as_str(), work.group.as_str(), work.topic.as_str());
    assert_eq!(place, (DeadSource::Work, HANDLER, "billing", "orders"));
    assert_eq!((work.payload.as_slice(), work.version, work.attempts), ([1, 2, 3].as_slice(), 3, 1));
    assert_eq!((work.error.as_str(), work.key.as_deref(), work.created_at), ("failed", Some("lane"), at(9)));
    assert_eq!(store.dead_letters(1).await.unwrap()[0].id, message.id);
    assert!(store.dead_letters(0).await.unwrap().is_empty());
}

pub(super) async fn a_replayed_letter_takes_its_old_place(store: Bench) {
    two_dead(&*store).await;
    for letter in store.dead_letters(9).await.unwrap() {
        assert!(store.replay(letter.id, at(20)).await.unwrap());
        assert!(!store.replay(letter.id, at(20)).await.unwrap(), "it is no dead letter any more");
        assert!(!store.discard(letter.id).await.unwrap());
    }
    assert_eq!(store.counts().await.unwrap().dead, 0);
    assert_eq!(next_due(&*store).await, Some(at(20)));
    let messages = claim_messages(&*store, 20).await;
    assert_eq!(message_names(&messages), ["m1", "m2"]);
    assert_eq!(messages[0].attempts, 0);
    let work = claim_work(&*store, 20).await;
    assert_eq!(work_names(&work), ["w1"], "before `w2`, which is in its lane");
    assert_eq!((work[0].record.attempts, &work[0].record.error), (0, &None));
    assert!(finish(&*store, work[0].claim).await);
    assert_eq!(work_names(&claim_work(&*store, 20).await), ["w2"]);
}

pub(super) async fn a_discarded_letter_lets_the_later_ones_through(store: Bench) {
    two_dead(&*store).await;
    for letter in store.dead_letters(9).await.unwrap() {
        assert!(store.discard(letter.id).await.unwrap());
        assert!(!store.discard(letter.id).await.unwrap());
        assert!(!store.replay(letter.id, at(20)).await.unwrap());
    }
    assert_eq!(store.counts().await.unwrap().dead, 0);
    assert_eq!(message_names(&claim_messages(&*store, 20).await), ["m2"]);
    assert_eq!(work_names(&claim_work(&*store, 20).await), ["w2"]);
}

pub(super) async fn what_is_not_dead_is_neither_replayed_nor_discarded(store: Bench) {
    keep_messages(&*store, [message("alive", None)]).await;
    keep_work(&*store, [piece(WorkKind::Durable, "alive", None)]).await;
    let (event, work) = (claim_messages(&*store, 1).await[0].claim, claim_work(&*store, 1).await[0].claim);
    let ids = [
        DeadLetterId { source: DeadSource::Outbox, seq: event.seq },
        DeadLetterId { source: DeadSource::Work, seq: work.seq },
        DeadLetterId { source: DeadSource::Work, seq: work.seq + 1_000 },
    ];
    for id in ids {
        assert!(!store.replay(id, at(1)).await.unwrap());
        assert!(!store.discard(id).await.unwrap());
    }
    let counts = store.counts().await.unwrap();
    assert_eq!((counts.outbox, counts.work, counts.claimed), (1, 1, 2));
}
