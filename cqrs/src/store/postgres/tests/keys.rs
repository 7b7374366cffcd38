//! Keys that are too long to be held back.

use super::*;
use crate::store::StoreErrorKind;

/// Letters and digits that no index makes shorter.
fn incompressible(length: usize) -> String {
    let mut text: String =
        std::iter::repeat_with(|| Uuid::new_v4().simple().to_string()).take(length / 32 + 1).collect();
    text.truncate(length);
    text
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
    for (second, outcome) in [
        (1, OutboxOutcome::Retry { due: at(2), error: "later".to_owned() }),
        (3, OutboxOutcome::Dead { error: "never".to_owned() }),
    ] {
        let claimed = claim(&store, second, 9).await;
        assert_eq!((claimed.len(), settle(&store, &claimed, &outcome).await), (1, 1));
    }
    assert_eq!(store.dead_letters(9).await.unwrap().len(), 1);
}
