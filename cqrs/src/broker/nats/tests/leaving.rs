//! What is left of a member that has left its group.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::kv::Store;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{delete, message, options, subscription, take, unique, url};
use crate::broker::driver::Driver as _;
use crate::broker::nats::NatsBroker;
use crate::broker::nats::member::Member;
use crate::broker::nats::records::{self, Record};
use crate::broker::nats::shared::Shared;
use crate::broker::nats::table::Table;
use crate::broker::options::Declare;

async fn table(store: &Store, group: &str) -> Table {
    records::read(store, &records::table(group)).await.unwrap().0.unwrap()
}

/// How many messages of a topic are written down as done, all slots together.
async fn done(broker: &NatsBroker, store: &Store, group: &str, topic: &str) -> usize {
    let mut done = 0;
    for slot in 0..broker.link.slots() {
        let (record, _) = records::read::<Record>(store, &records::slot(group, topic, slot)).await.unwrap();
        done += record.map_or(0, |record| usize::from(record.progress.position > 0) + record.progress.beyond.len());
    }
    done
}

#[tokio::test]
async fn a_member_that_leaves_has_written_down_what_is_done_and_owns_nothing() {
    let (topic, group) = (unique("leave"), unique("group"));
    let broker = NatsBroker::new(&url(), options(Declare::Create)).unwrap();
    let mut consumer = broker.subscribe(subscription(&group, &topic, 10)).await.unwrap();
    let store = broker.link.bucket().await.unwrap();
    let joined = table(&store, &group).await;
    assert_ne!(joined, left(&joined), "it takes part");
    // One message, so that the place it has in its slot says that it is done.
    assert!(broker.publish(vec![message(&topic, Some("k"), "1")]).await[0].is_ok());
    assert_eq!(take(&mut consumer, 1).await, ["1"]);
    consumer.close().await;
    assert_eq!(done(&broker, &store, &group, &topic).await, 1);
    let table = table(&store, &group).await;
    assert_eq!(table, left(&table), "what it owned is free at once, and not after its lease");
    broker.close().await;
    delete(&url(), &topic).await;
}

/// A table without its members.
fn left(table: &Table) -> Table {
    let mut table = table.clone();
    for member in table.members() {
        table.leave(&member);
    }
    table
}

#[tokio::test]
async fn the_readers_of_a_member_that_leaves_end() {
    let (topic, group) = (unique("readers"), unique("group"));
    let broker = NatsBroker::new(&url(), options(Declare::Create)).unwrap();
    let (shared, stop) = (Arc::new(Shared::new(10)), CancellationToken::new());
    let mut member = Member::new(Arc::clone(&broker.link), Arc::clone(&shared), subscription(&group, &topic, 10));
    member.join().await.unwrap();
    assert!(Arc::strong_count(&shared) > 2, "this test, the member, and a reader for each slot");
    stop.cancel();
    member.run(stop).await;
    timeout(Duration::from_mins(1), async {
        while Arc::strong_count(&shared) > 1 {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
    broker.close().await;
    delete(&url(), &topic).await;
}
