//! Stored work: what is PostgreSQL's own.

use super::*;

fn piece(name: &str, lane: Option<&str>) -> WorkRecord {
    WorkRecord {
        id: Uuid::now_v7(),
        kind: WorkKind::Durable,
        handler: "mail::send".to_owned(),
        group: String::new(),
        name: name.to_owned(),
        version: 1,
        topic: String::new(),
        key: None,
        lane: lane.map(str::to_owned),
        timer_key: None,
        payload: Vec::new(),
        headers: BTreeMap::new(),
        created_at: at(0),
        due_at: at(0),
        attempts: 0,
        error: None,
        dead: false,
    }
}

async fn keep_work(store: &PostgresStore, records: impl IntoIterator<Item = WorkRecord>) {
    let mut tx = store.begin().await.unwrap();
    tx.store(records.into_iter().map(Record::Work).collect()).await.unwrap();
    tx.commit().await.unwrap();
}

async fn claim_work(store: &PostgresStore, seconds: u64, limit: usize) -> Vec<ClaimedWork> {
    let queues = [WorkQueue::durable("mail::send")];
    let share = WorkShare { queues: &queues, limit: &|| limit };
    store.claim_work(&[share], request("a", seconds, limit)).await.unwrap()
}

#[tokio::test]
async fn a_claim_of_work_lasts_from_when_it_was_granted() {
    let (schema, _) = fresh().await;
    let store = schema.lent(1).await;
    keep_work(&store, [piece("w", None)]).await;
    let busy = store.pool.acquire().await.unwrap();
    let (claimed, ()) = tokio::join!(claim_work(&store, 1, 9), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        drop(busy);
    });
    assert_eq!(claimed.len(), 1);
    let until = number(&store.pool, "SELECT lease_until FROM cqrs_work").await;
    assert!(
        until >= rows::micros(at(1) + LEASE + Duration::from_millis(900)),
        "a second went by before it was granted"
    );
}

#[tokio::test]
async fn what_is_due_is_woken_a_thousand_at_a_time() {
    let (_schema, store) = fresh().await;
    keep_work(&store, (0..1_200).map(|n| WorkRecord { due_at: at(2), ..piece(&n.to_string(), None) })).await;
    assert_eq!(claim_work(&store, 5, 1).await.len(), 1);
    let waiting = "SELECT COUNT(*) FROM cqrs_work WHERE state = 'waiting'";
    assert_eq!(number(&store.pool, waiting).await, 200, "a claim holds no more locks than that");
    assert_eq!(store.next_work_due(&[WorkQueue::durable("mail::send")]).await.unwrap(), Some(at(2)));
    assert_eq!(claim_work(&store, 5, 2_000).await.len(), 1_199);
    // What a lost process held comes back in the same way.
    assert_eq!(claim_work(&store, 60, 2_000).await.len(), 1_000);
    assert_eq!(claim_work(&store, 60, 2_000).await.len(), 200);
}

#[tokio::test]
async fn what_somebody_has_stranded_is_freed() {
    let (_schema, store) = fresh().await;
    keep_work(&store, ["1", "2"].map(|name| piece(name, Some("a")))).await;
    assert_eq!(claim_work(&store, 1, 9).await.len(), 1);
    keep_messages(&store, ["1", "2"].map(|name| message(name, Some("a")))).await;
    let first = claim(&store, 1, 1).await;
    settle(&store, &first, &OutboxOutcome::Dead { error: "too large".to_owned() }).await;
    assert!(claim(&store, 1, 9).await.is_empty());
    run_sql(&store.pool, "DELETE FROM cqrs_work WHERE state = 'claimed'; DELETE FROM cqrs_outbox WHERE state = 'dead'")
        .await;
    assert!(claim(&store, 2, 9).await.is_empty() && claim_work(&store, 2, 9).await.is_empty());
    assert_eq!(store.free_stranded().await.unwrap(), 2);
    assert_eq!((claim(&store, 2, 9).await.len(), claim_work(&store, 2, 9).await.len()), (1, 1));
}

#[tokio::test]
async fn work_that_cannot_be_read_is_a_dead_letter_and_holds_up_its_lane_alone() {
    let (_schema, store) = fresh().await;
    keep_work(&store, ["a1", "a2", "b1"].map(|name| piece(name, Some(&name[..1])))).await;
    run_sql(&store.pool, "UPDATE cqrs_work SET headers = 'no JSON' WHERE name = 'a1'").await;
    let names = |claimed: Vec<ClaimedWork>| claimed.into_iter().map(|work| work.record.name).collect::<Vec<_>>();
    assert_eq!(names(claim_work(&store, 1, 9).await), ["b1"]);
    assert!(claim_work(&store, 1, 9).await.is_empty());
    let letters = store.dead_letters(9).await.unwrap();
    assert!(letters[0].error.starts_with("the row cannot be read"), "{letters:?}");
    assert_eq!(number(&store.pool, "SELECT COUNT(*) FROM cqrs_work WHERE state = 'parked'").await, 1);
    assert!(store.discard(letters[0].id).await.unwrap());
    assert_eq!(names(claim_work(&store, 1, 9).await), ["a2"]);
}
