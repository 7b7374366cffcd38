//! Inbox marks: set once, and looked at.

use uuid::Uuid;

use super::bench::{Bench, SOON, at, claim_work, mark, piece};
use crate::store::{InboxMark, Record, Standing, WorkKind};

pub(super) async fn a_message_is_marked_once(store: Bench) {
    let (one, two) = (Uuid::now_v7(), Uuid::now_v7());
    let mut tx = store.begin().await.unwrap();
    let marks = vec![mark("a", one), mark("b", one), mark("a", one), mark("a", two)];
    assert_eq!(tx.mark_handled(marks).await.unwrap(), [true, true, false, true]);
    assert_eq!(tx.mark_handled(vec![mark("a", two)]).await.unwrap(), [false], "in the same unit");
    tx.commit().await.unwrap();
    let mut tx = store.begin().await.unwrap();
    let other_group = InboxMark { group: "mail".to_owned(), ..mark("a", one) };
    let marks = vec![mark("a", one), other_group, mark("c", two)];
    assert_eq!(tx.mark_handled(marks).await.unwrap(), [false, true, true]);
    drop(tx);
    let mut tx = store.begin().await.unwrap();
    assert_eq!(tx.mark_handled(vec![mark("c", two)]).await.unwrap(), [true], "its unit was rolled back");
    assert_eq!(tx.mark_handled(Vec::new()).await.unwrap(), [false; 0]);
}

pub(super) async fn of_two_units_at_once_one_marks_a_message(store: Bench) {
    for commits in [true, false] {
        let (message, other) = (mark("a", Uuid::now_v7()), store.another().await);
        let mut tx = store.begin().await.unwrap();
        assert_eq!(tx.mark_handled(vec![message.clone()]).await.unwrap(), [true]);
        let second = tokio::spawn(async move {
            let mut tx = other.begin().await.unwrap();
            let first = tx.mark_handled(vec![message]).await.unwrap();
            tx.commit().await.unwrap();
            first
        });
        tokio::time::sleep(SOON).await;
        if commits {
            tx.commit().await.unwrap();
        } else {
            tx.rollback().await.unwrap();
        }
        assert_eq!(second.await.unwrap(), [!commits], "the first of them was committed: {commits}");
    }
}

pub(super) async fn where_a_message_stands_is_known_without_waiting(store: Bench) {
    let (marked, new) = (mark("a", Uuid::now_v7()), mark("a", Uuid::now_v7()));
    let mut tx = store.begin().await.unwrap();
    tx.mark_handled(vec![marked.clone()]).await.unwrap();
    tx.store(vec![Record::Work(piece(WorkKind::Consumed, "earlier", Some("lane")))]).await.unwrap();
    assert_eq!(store.standing(&marked, Some("lane")).await.unwrap(), Standing::New, "it is not committed");
    tx.commit().await.unwrap();
    let writer = store.begin().await.unwrap();
    assert_eq!(store.standing(&marked, Some("lane")).await.unwrap(), Standing::Handled);
    assert_eq!(store.standing(&new, Some("lane")).await.unwrap(), Standing::Behind);
    for lane in [Some("other"), None] {
        assert_eq!(store.standing(&new, lane).await.unwrap(), Standing::New);
    }
    let elsewhere = [
        InboxMark { handler: "b".to_owned(), ..marked.clone() },
        InboxMark { group: "c".to_owned(), ..marked.clone() },
    ];
    for mark in &elsewhere {
        assert_eq!(store.standing(mark, None).await.unwrap(), Standing::New);
    }
    many_standings(&store, [marked, new.clone()].into_iter().chain(elsewhere)).await;
    drop(writer);
    let claimed = claim_work(&*store, 1).await;
    assert_eq!(store.standing(&new, Some("lane")).await.unwrap(), Standing::Behind, "what is ahead is claimed");
    assert!(store.bury_work(claimed[0].claim, "dead", false).await.unwrap());
    assert_eq!(store.standing(&new, Some("lane")).await.unwrap(), Standing::Behind, "what is ahead is dead");
}

/// What is said of many at once is what is said of each, in their order: more of them than one statement asks about.
async fn many_standings(store: &Bench, marks: impl Iterator<Item = InboxMark>) {
    let lanes = [None, Some("lane"), Some("other")].map(|lane| lane.map(str::to_owned));
    let mut asked: Vec<_> = marks.flat_map(|mark| lanes.clone().map(|lane| (mark.clone(), lane))).collect();
    for number in 0..700 {
        asked.push((mark("a", Uuid::from_u128(number)), lanes[number as usize % 3].clone()));
    }
    let mut alone = Vec::new();
    for (mark, lane) in &asked {
        alone.push(store.standing(mark, lane.as_deref()).await.unwrap());
    }
    assert_eq!(store.standings(asked).await.unwrap(), alone);
    assert!(store.standings(Vec::new()).await.unwrap().is_empty());
}

pub(super) async fn thousands_are_marked_and_purged(store: Bench) {
    let marks: Vec<InboxMark> = (0..5_000).map(|n| InboxMark { at: at(n), ..mark("a", Uuid::now_v7()) }).collect();
    let mut tx = store.begin().await.unwrap();
    assert_eq!(tx.mark_handled(marks.clone()).await.unwrap(), [true; 5_000]);
    assert_eq!(tx.mark_handled(marks.clone()).await.unwrap(), [false; 5_000]);
    tx.commit().await.unwrap();
    assert_eq!(store.purge_inbox(at(4_000)).await.unwrap(), 4_000);
    assert_eq!(store.purge_inbox(at(4_000)).await.unwrap(), 0);
    assert_eq!(store.counts().await.unwrap().inbox, 1_000);
    assert_eq!(store.standing(&marks[3_999], None).await.unwrap(), Standing::New);
    assert_eq!(store.standing(&marks[4_000], None).await.unwrap(), Standing::Handled);
}
