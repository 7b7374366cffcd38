//! Members of a group: busy ones, ones that come, and ones that are killed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cqrs::broker::driver::Incoming;
use cqrs_tests::kafka;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::support::{bounded, done, driver, join, message, publish_one, random, receive, text};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_busy_for_long_stays_in_its_group() {
    let (topic, group) = (random("topic"), random("group"));
    // As short as they may be: who does not read for so long is turned out.
    let driver = driver(&kafka::url(), &[("session.timeout.ms", "6000"), ("max.poll.interval.ms", "6000")]);
    let mut busy = join(&*driver, &group, &topic, 1).await;
    for text in ["1", "2", "3"] {
        assert_eq!(publish_one(&*driver, &topic, "a", text).await, Ok(()));
    }
    let held = receive(&mut *busy, 1).await;
    sleep(Duration::from_secs(9)).await;
    done(&mut *busy, &held).await;
    busy.close().await;
    let mut next = join(&*driver, &group, &topic, 1).await;
    let received = receive(&mut *next, 1).await;
    assert_eq!(text(&received[0]), "2", "what was settled after long work counts");
    next.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_goes_when_what_is_being_handled_is_settled() {
    let (topic, group) = (random("topic"), random("group"));
    let driver = driver(&kafka::url(), &[]);
    let mut old = join(&*driver, &group, &topic, 100).await;
    let batch: Vec<_> = (0..40).map(|number| message(&topic, &number.to_string(), number.to_string())).collect();
    let publishing = driver.publish(batch);
    assert!(bounded(publishing).await.iter().all(Result::is_ok));
    let held = receive(&mut *old, 40).await;
    let mut new = join(&*driver, &group, &topic, 100).await;
    assert!(
        timeout(Duration::from_secs(2), new.receive(100)).await.is_err(),
        "what another handles is handed to nobody"
    );
    done(&mut *old, &held).await;
    // Both get what comes later, and the new one nothing of what was handled.
    let mut by_new = Vec::new();
    for round in 0.. {
        let batch = (0..40).map(|number| message(&topic, &number.to_string(), format!("later {round}"))).collect();
        assert!(bounded(driver.publish(batch)).await.iter().all(Result::is_ok));
        if let Ok(received) = timeout(Duration::from_millis(500), new.receive(100)).await {
            by_new.extend(received.expect("messages"));
            break;
        }
        assert!(round < 60, "the new member gets nothing");
        if let Ok(received) = timeout(Duration::from_millis(50), old.receive(100)).await {
            done(&mut *old, &received.expect("messages")).await;
        }
    }
    assert!(by_new.iter().all(|incoming| text(incoming).starts_with("later")), "handled twice: {by_new:?}");
    old.close().await;
    new.close().await;
    driver.close().await;
}

/// A member keeps the partitions that stay, with what is out of them: nobody is given that again, and what was fetched of them is handed
/// out while it is waited for those that go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_that_stay_go_on_while_others_go() {
    const EACH: usize = 40;
    let (topic, group) = (random("topic"), random("group"));
    // By its heartbeats a member hears that another has come.
    let driver = driver(&kafka::url(), &[("heartbeat.interval.ms", "200")]);
    let publish = async |what: &str| {
        let text = |number| format!("{what} {number}");
        let batch = (0..EACH).map(|number| message(&topic, &number.to_string(), text(number))).collect();
        assert!(bounded(driver.publish(batch)).await.iter().all(Result::is_ok));
    };
    let mut old = join(&*driver, &group, &topic, 4 * EACH).await;
    publish("first").await;
    let held = receive(&mut *old, EACH).await;
    publish("second").await;
    sleep(Duration::from_millis(500)).await;
    let mut new = join(&*driver, &group, &topic, 4 * EACH).await;
    assert!(
        timeout(Duration::from_millis(1500), new.receive(100)).await.is_err(),
        "what another handles is handed to nobody"
    );
    let mut by_old = receive(&mut *old, 1).await;
    // Longer than it is waited for what is being handled: what goes has gone, and the other begins with what was not settled.
    let mut by_new = receive(&mut *new, 1).await;
    done(&mut *old, &held).await;
    let is_second = |incoming: &&Incoming| text(incoming).starts_with("second");
    bounded(async {
        while by_old.iter().chain(&by_new).filter(is_second).count() < EACH {
            for (member, by) in [(&mut old, &mut by_old), (&mut new, &mut by_new)] {
                if let Ok(received) = timeout(Duration::from_millis(100), member.receive(100)).await {
                    by.extend(received.expect("messages"));
                }
            }
        }
    })
    .await;
    assert!(by_old.iter().all(|incoming| is_second(&incoming)), "handed out again: {by_old:?}");
    let again = by_new.iter().filter(|incoming| !is_second(incoming)).count();
    assert!((1..EACH).contains(&again), "of {EACH} that were out {again} went");
    let seconds: BTreeSet<_> = by_old.iter().chain(&by_new).filter(is_second).map(text).collect();
    assert_eq!(seconds.len(), EACH, "some came twice");
    old.close().await;
    new.close().await;
    driver.close().await;
}

/// What was seen of each key, over all members: numbers in the order in which they were first handed out.
type Seen = Arc<Mutex<BTreeMap<String, Vec<u32>>>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_members_under_load_lose_nothing_when_one_after_another_is_killed() {
    const KEYS: u32 = 30;
    const EACH: u32 = 100;
    let (topic, group, seen) = (random("topic"), random("group"), Seen::default());
    let driver = driver(&kafka::url(), &[]);
    let start = || tokio::spawn(work(group.clone(), topic.clone(), Arc::clone(&seen)));
    let mut members: Vec<JoinHandle<()>> = (0..3).map(|_| start()).collect();
    let (publisher, to) = (Arc::clone(&driver), topic.clone());
    let publishing = tokio::spawn(async move {
        for number in 0..EACH {
            let batch = (0..KEYS).map(|key| message(&to, &key.to_string(), number.to_string())).collect();
            assert!(bounded(publisher.publish(batch)).await.iter().all(Result::is_ok));
            sleep(Duration::from_millis(40)).await;
        }
    });
    for victim in 0..6 {
        sleep(Duration::from_millis(900)).await;
        // Dropped with what it holds, in the middle of whatever it does.
        members[victim % 3].abort();
        members[victim % 3] = start();
    }
    publishing.await.expect("published");
    let all: BTreeSet<_> = (0..EACH).collect();
    let is_whole = || {
        let seen = seen.lock().expect("sound");
        (0..KEYS).all(|key| {
            seen.get(&key.to_string()).is_some_and(|numbers| numbers.iter().copied().collect::<BTreeSet<_>>() == all)
        })
    };
    bounded(async {
        while !is_whole() {
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    members.iter().for_each(JoinHandle::abort);
    for (key, numbers) in &*seen.lock().expect("sound") {
        assert!(numbers.is_sorted(), "the first time that each came, of key {key}: {numbers:?}");
    }
}

async fn work(group: String, topic: String, seen: Seen) {
    let driver = driver(&kafka::url(), &[]);
    let mut consumer = join(&*driver, &group, &topic, 20).await;
    while let Ok(received) = consumer.receive(20).await {
        for incoming in received {
            {
                let mut seen = seen.lock().expect("sound");
                let numbers = seen.entry(incoming.delivery.message_key().expect("a key").to_owned()).or_default();
                let number = text(&incoming).parse().expect("a number");
                if !numbers.contains(&number) {
                    numbers.push(number);
                }
            }
            sleep(Duration::from_millis(1)).await;
            done(&mut *consumer, &[incoming]).await;
        }
    }
}
