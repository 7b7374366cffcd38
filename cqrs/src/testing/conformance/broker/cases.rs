//! Cases with a member or two.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::timeout;
use uuid::Uuid;

use super::ledger::Numbered;
use super::scene::{Scene, numbered, receive, receive_exactly, settle, take};
use super::{Fixture, fail};
use crate::broker::driver::{Consumer, Incoming, Outgoing, Settlement, Subscription};
use crate::broker::{BrokerError, BrokerErrorKind, Delivery};

/// How long nothing has to come for the case to believe that nothing will.
const QUIET: Duration = Duration::from_secs(1);

/// Publishing gives one confirmation for each message of a batch.
///
/// # Panics
/// Panics when the broker does not do that.
pub async fn confirms_each_message_of_a_batch(fixture: &dyn Fixture) {
    let scene = Scene::new(fixture);
    let mut consumer = scene.join(64).await;
    scene.publish(Vec::new()).all_confirmed(0).await;
    let messages = numbered(10, 20);
    let publishing = scene.publish_numbered(&messages);
    let mut taken = take(&mut *consumer, messages.len()).await;
    publishing.all_confirmed(messages.len()).await;
    taken.sort();
    let mut expected = messages;
    expected.sort();
    assert_eq!(taken, expected);
    end(scene, consumer).await;
}

/// Key, headers and bytes come back as they were published.
///
/// # Panics
/// Panics when the broker does not do that.
pub async fn carries_everything_exactly(fixture: &dyn Fixture) {
    let scene = Scene::new(fixture);
    let mut consumer = scene.join(64).await;
    let of = |payload: Vec<u8>| Delivery::new(scene.topic.clone(), payload);
    let deliveries = vec![
        of(Vec::new()),
        of(Vec::new()).key("an empty payload with a key"),
        of((0..=255).cycle().take(70_000).collect()).key("binary"),
        of(b"{}".to_vec()).key("headers").header("event_name", "order_placed").header("traceparent", "00-ab-cd-01"),
        of(b"{}".to_vec()).key("unicode").header("wer", "Müller, 山田, Ω, 🦀").header("nothing", ""),
        of(b"{}".to_vec()).key("schlüssel/ 鍵 .*>#"),
        of(b"{}".to_vec()).key("k".repeat(1000)),
    ];
    let batch = deliveries.iter().map(|delivery| Outgoing { id: Uuid::now_v7(), delivery: delivery.clone() }).collect();
    let publishing = scene.publish(batch);
    let mut left = deliveries.clone();
    while !left.is_empty() {
        let incoming = receive(&mut *consumer, 64).await;
        settle(&mut *consumer, &incoming, Settlement::Done).await;
        for Incoming { delivery, .. } in incoming {
            match left.iter().position(|published| is_the_same(published, &delivery)) {
                Some(at) => drop(left.remove(at)),
                None => fail(format_args!("a message that nobody published: {delivery:?}; left: {left:?}")),
            }
        }
    }
    publishing.all_confirmed(deliveries.len()).await;
    end(scene, consumer).await;
}

/// A driver may add headers of its own.
fn is_the_same(published: &Delivery, received: &Delivery) -> bool {
    published.topic() == received.topic()
        && published.message_key() == received.message_key()
        && published.payload() == received.payload()
        && published.headers().iter().all(|(name, value)| received.headers().get(name) == Some(value))
}

/// Messages of a key come in the order in which they were published, over many batches.
///
/// # Panics
/// Panics when the broker does not do that.
pub async fn keeps_the_order_of_each_key(fixture: &dyn Fixture) {
    let scene = Scene::new(fixture);
    let mut consumer = scene.join(64).await;
    let messages = numbered(7, 100);
    let count = messages.len();
    let publishing = scene.publish_surely(messages, 90);
    let mut next = BTreeMap::<String, u32>::new();
    for Numbered { key, number } in take(&mut *consumer, count).await {
        let due = next.entry(key.clone()).or_default();
        assert_eq!(number, *due, "the messages of {key:?} are out of order");
        *due += 1;
    }
    publishing.await.unwrap_or_else(|error| fail(format_args!("{error}")));
    end(scene, consumer).await;
}

/// Each of two groups gets every message.
///
/// # Panics
/// Panics when the broker does not do that.
pub async fn gives_everything_to_each_group(fixture: &dyn Fixture) {
    let scene = Scene::new(fixture);
    let mut one = scene.join(64).await;
    let mut two = scene.join_group(&format!("{}-two", scene.group), 64).await;
    let messages = numbered(10, 10);
    let publishing = scene.publish_numbered(&messages);
    let (mut by_one, mut by_two) = tokio::join!(take(&mut *one, messages.len()), take(&mut *two, messages.len()));
    publishing.all_confirmed(messages.len()).await;
    by_one.sort();
    by_two.sort();
    let mut expected = messages;
    expected.sort();
    assert_eq!(by_one, expected);
    assert_eq!(by_two, expected);
    two.close().await;
    end(scene, one).await;
}

/// A returned message comes again, before every message of its key that was not handed out; other keys flow meanwhile.
///
/// # Panics
/// Panics when the broker does not do that.
pub async fn delivers_again_what_is_returned(fixture: &dyn Fixture) {
    let scene = Scene::new(fixture);
    let mut consumer = scene.join(4).await;
    let messages: Vec<_> = (0..6).flat_map(|n| [Numbered::new("a", n), Numbered::new("b", n)]).collect();
    let publishing = scene.publish_numbered(&messages);
    let (mut returns, mut order) = (0, BTreeMap::<String, Vec<u32>>::new());
    while order.values().map(Vec::len).sum::<usize>() < messages.len() {
        let incoming = receive(&mut *consumer, 4).await;
        // The first three times that messages of `a` come, the earliest of them is handed back, and so are the others.
        let (of_a, of_b): (Vec<_>, Vec<_>) =
            incoming.into_iter().partition(|incoming| incoming.delivery.message_key() == Some("a"));
        let mut done = of_b;
        if returns < 3 && !of_a.is_empty() {
            returns += 1;
            settle(&mut *consumer, &of_a, Settlement::Return).await;
        } else {
            done.extend(of_a);
        }
        settle(&mut *consumer, &done, Settlement::Done).await;
        for message in done.iter().map(|incoming| Numbered::read(&incoming.delivery)) {
            order.entry(message.key).or_default().push(message.number);
        }
    }
    assert_eq!(returns, 3);
    assert_eq!(order["a"], [0, 1, 2, 3, 4, 5], "what was handed back comes again before what is behind it");
    assert_eq!(order["b"], [0, 1, 2, 3, 4, 5]);
    publishing.all_confirmed(messages.len()).await;
    end(scene, consumer).await;
}

/// What a member has not settled when it leaves comes again.
///
/// # Panics
/// Panics when the broker does not do that.
pub async fn delivers_again_what_was_held_at_close(fixture: &dyn Fixture) {
    holds_and_goes(fixture, async |consumer| consumer.close().await).await;
}

/// What a member has not settled when it is dropped comes again.
///
/// # Panics
/// Panics when the broker does not do that.
pub async fn delivers_again_what_was_held_when_dropped(fixture: &dyn Fixture) {
    holds_and_goes(fixture, async |consumer| drop(consumer)).await;
}

async fn holds_and_goes(fixture: &dyn Fixture, go: impl AsyncFnOnce(Box<dyn Consumer>)) {
    let scene = Scene::new(fixture);
    let mut first = scene.join(64).await;
    let messages = numbered(5, 2);
    let publishing = scene.publish_numbered(&messages);
    // The first messages of each key are out at least; the first of them is settled.
    let held = receive_exactly(&mut *first, 5).await;
    settle(&mut *first, &held[..1], Settlement::Done).await;
    let done = Numbered::read(&held[0].delivery);
    go(first).await;
    let mut second = scene.join(64).await;
    let mut seen = BTreeMap::<String, Vec<u32>>::new();
    let is_whole = |seen: &BTreeMap<String, Vec<u32>>| {
        messages.iter().all(|m| *m == done || seen.get(&m.key).is_some_and(|numbers| numbers.contains(&m.number)))
    };
    while !is_whole(&seen) {
        for message in take(&mut *second, 1).await {
            seen.entry(message.key).or_default().push(message.number);
        }
    }
    for (key, numbers) in &seen {
        assert!(numbers.is_sorted(), "the messages of {key:?} came out of order: {numbers:?}");
    }
    publishing.all_confirmed(messages.len()).await;
    end(scene, second).await;
}

/// What was settled as done does not come again to a member that joins after the first has left.
///
/// # Panics
/// Panics when the broker does not do that.
pub async fn never_delivers_again_what_is_done(fixture: &dyn Fixture) {
    let scene = Scene::new(fixture);
    let mut first = scene.join(64).await;
    let messages = numbered(10, 5);
    let publishing = scene.publish_numbered(&messages);
    take(&mut *first, messages.len()).await;
    publishing.all_confirmed(messages.len()).await;
    first.close().await;
    let mut second = scene.join(64).await;
    let later: Vec<_> = (0..10).map(|key| Numbered::new(format!("key {key}"), 5)).collect();
    let publishing = scene.publish_numbered(&later);
    let mut taken = take(&mut *second, later.len()).await;
    taken.sort();
    let mut expected = later.clone();
    expected.sort();
    assert_eq!(taken, expected, "only what was published since");
    publishing.all_confirmed(later.len()).await;
    end(scene, second).await;
}

/// A member is handed no more than its prefetch until it settles some.
///
/// # Panics
/// Panics when the broker does not do that.
pub async fn keeps_within_the_prefetch(fixture: &dyn Fixture) {
    let scene = Scene::new(fixture);
    let mut consumer = scene.join(3).await;
    let messages = numbered(12, 1);
    let publishing = scene.publish_numbered(&messages);
    let held = receive_exactly(&mut *consumer, 3).await;
    let more = timeout(QUIET, consumer.receive(10)).await;
    assert!(more.is_err(), "more than the prefetch: {more:?}");
    settle(&mut *consumer, &held[..1], Settlement::Done).await;
    let next = receive_exactly(&mut *consumer, 1).await;
    let more = timeout(QUIET, consumer.receive(10)).await;
    assert!(more.is_err(), "more than the prefetch: {more:?}");
    settle(&mut *consumer, &held[1..], Settlement::Done).await;
    settle(&mut *consumer, &next, Settlement::Done).await;
    take(&mut *consumer, messages.len() - 4).await;
    publishing.all_confirmed(messages.len()).await;
    end(scene, consumer).await;
}

/// A call of `receive` can be dropped at any time and loses nothing.
///
/// # Panics
/// Panics when the broker does not do that.
pub async fn receiving_can_be_given_up(fixture: &dyn Fixture) {
    let scene = Scene::new(fixture);
    let mut consumer = scene.join(8).await;
    let messages = numbered(4, 50);
    let count = messages.len();
    let early = timeout(Duration::from_millis(50), receive(&mut *consumer, 3)).await;
    assert!(early.is_err(), "nothing is published yet: {early:?}");
    let publishing = scene.publish_surely(messages, 10);
    let mut next = BTreeMap::<String, u32>::new();
    let (mut taken, mut turn) = (0, 0_u64);
    while taken < count {
        turn += 1;
        let patience = Duration::from_micros(turn % 20 * 50);
        let Ok(incoming) = timeout(patience, receive(&mut *consumer, 3)).await else { continue };
        for Numbered { key, number } in incoming.iter().map(|incoming| Numbered::read(&incoming.delivery)) {
            let due = next.entry(key.clone()).or_default();
            assert_eq!(number, *due, "a message of {key:?} was lost or came twice");
            *due += 1;
            taken += 1;
        }
        settle(&mut *consumer, &incoming, Settlement::Done).await;
    }
    publishing.await.unwrap_or_else(|error| fail(format_args!("{error}")));
    end(scene, consumer).await;
}

/// A message that is too large is refused; the others of its batch go on, but for the later ones of its key.
///
/// # Panics
/// Panics when the broker does not do that, or the fixture does not say what is too large.
pub async fn refuses_what_is_too_large(fixture: &dyn Fixture) {
    let Some(size) = fixture.too_large() else {
        fail(format_args!("the fixture does not say what is too large: leave the case out"));
    };
    let scene = Scene::new(fixture);
    let mut consumer = scene.join(64).await;
    let mut batch: Vec<_> = [("a", 0), ("b", 0), ("a", 1), ("b", 1), ("b", 2), ("a", 2)]
        .into_iter()
        .map(|(key, number)| Numbered::new(key, number).outgoing(&scene.topic))
        .collect();
    batch[3].delivery.payload = vec![b'x'; size];
    let publishing = scene.publish(batch.clone());
    let mut taken = take(&mut *consumer, 4).await;
    taken.sort();
    let expected = [("a", 0), ("a", 1), ("a", 2), ("b", 0)].map(|(key, number)| Numbered::new(key, number));
    assert_eq!(taken, expected);
    let results = publishing.results().await;
    let kinds: Vec<_> = results.iter().map(|result| result.as_ref().err().map(BrokerError::kind)).collect();
    assert_eq!(kinds[3], Some(BrokerErrorKind::Refused), "{results:?}");
    assert!(kinds[4].is_some(), "what comes behind a failed message of its key is not published: {results:?}");
    assert!([0, 1, 2, 5].iter().all(|at| kinds[*at].is_none()), "{results:?}");
    // Nothing stands in the way of the key afterwards.
    let publishing = scene.publish(vec![batch[4].clone()]);
    assert_eq!(take(&mut *consumer, 1).await, [Numbered::new("b", 2)]);
    publishing.all_confirmed(1).await;
    end(scene, consumer).await;
}

/// A broker that is closed while a batch is under way has an answer for each of its messages: what it confirms is delivered, and
/// behind what failed nothing of its key is confirmed. From then on it is closed for everything.
///
/// # Panics
/// Panics when the broker does not do that.
pub async fn answers_for_each_message_when_it_is_closed(fixture: &dyn Fixture) {
    let scene = Scene::new(fixture);
    let mut consumer = scene.join(64).await;
    let messages = numbered(20, 100);
    let publishing = scene.publish_numbered(&messages);
    let mut seen: BTreeSet<Numbered> = take(&mut *consumer, 1).await.into_iter().collect();
    scene.driver.close().await;
    let results = publishing.results().await;
    assert_eq!(results.len(), messages.len(), "one result for each message");
    let mut failed: BTreeSet<&str> = BTreeSet::new();
    for (message, result) in messages.iter().zip(&results) {
        let kind = result.as_ref().err().map(BrokerError::kind);
        let is_known = matches!(kind, None | Some(BrokerErrorKind::Closed | BrokerErrorKind::Unavailable));
        assert!(is_known, "{message:?}: {result:?}");
        assert!(kind.is_some() || !failed.contains(&*message.key), "{message:?} is confirmed behind one that failed");
        failed.extend(kind.map(|_| &*message.key));
    }
    let confirmed = || messages.iter().zip(&results).filter(|(_, result)| result.is_ok()).map(|(message, _)| message);
    while !confirmed().all(|message| seen.contains(message)) {
        seen.extend(take(&mut *consumer, 1).await);
    }
    let is_closed = |error: &BrokerError| error.kind() == BrokerErrorKind::Closed;
    let late = scene.publish_numbered(&[Numbered::new("late", 0)]).results().await;
    assert!(late.len() == 1 && late[0].as_ref().is_err_and(is_closed), "closed: {late:?}");
    let subscription = Subscription { group: scene.group.clone(), topics: vec![scene.topic.clone()], prefetch: 1 };
    let joined = scene.driver.subscribe(subscription).await;
    assert!(joined.as_ref().is_err_and(is_closed), "closed: {joined:?}");
    end(scene, consumer).await;
}

/// A driver that makes no topics refuses to publish to one that is missing, and to consume from it.
///
/// # Panics
/// Panics when the broker does not do that, or the fixture has no driver that checks.
pub async fn checks_that_a_topic_is_there(fixture: &dyn Fixture) {
    let Some(checking) = fixture.connect_checking() else {
        fail(format_args!("the fixture has no driver that checks: leave the case out"));
    };
    let scene = Scene::new(fixture);
    let message = Numbered::new("a", 0);
    let results = checking.publish(vec![message.outgoing(&scene.topic)]).await;
    let kind = results[0].as_ref().err().map(BrokerError::kind);
    assert_eq!(kind, Some(BrokerErrorKind::Configuration), "{results:?}");
    let subscription = Subscription { group: scene.group.clone(), topics: vec![scene.topic.clone()], prefetch: 1 };
    let refusal = match checking.subscribe(subscription.clone()).await {
        Ok(mut consumer) => consumer.receive(1).await.err(),
        Err(error) => Some(error),
    };
    let text = refusal.as_ref().map(ToString::to_string).unwrap_or_default();
    assert_eq!(refusal.map(|error| error.kind()), Some(BrokerErrorKind::Configuration), "{text}");
    assert!(text.contains(&scene.topic), "the error names the topic: {text}");
    // Once it is there, it is used; which it is as soon as somebody who makes topics has subscribed.
    let maker = scene.join(1).await;
    let mut consumer = checking
        .subscribe(Subscription { group: format!("{}-two", scene.group), ..subscription })
        .await
        .unwrap_or_else(|error| fail(format_args!("the topic is there now: {error:?}")));
    let publishing = tokio::spawn({
        let (checking, outgoing) = (checking.clone(), message.outgoing(&scene.topic));
        async move { checking.publish(vec![outgoing]).await }
    });
    assert_eq!(take(&mut *consumer, 1).await, [message]);
    let results = publishing.await.unwrap_or_else(|error| fail(format_args!("{error}")));
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    maker.close().await;
    checking.close().await;
    end(scene, consumer).await;
}

async fn end(scene: Scene<'_>, consumer: Box<dyn Consumer>) {
    consumer.close().await;
    scene.driver.close().await;
}
