//! The trace of a call is with everything that died of it.

use std::collections::BTreeMap;

use cqrs::broker::driver::{Consumer, Driver, Outgoing, Subscription};
use cqrs::broker::{BrokerError, BrokerErrorKind, MemoryBroker};
use cqrs::prelude::*;
use cqrs::store::driver::BoxFuture;
use cqrs::store::{DeadLetter, DeadSource};
use serde::{Deserialize, Serialize};

use crate::support::{Harness, Refused, bounded};

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[derive(Command)]
pub struct Begin;

/// Sets off one of everything that is stored; each of them fails until it is a dead letter.
#[command_handler]
async fn begin(_cmd: Begin, events: &mut Events) {
    events.raise(Stored { word: "durable" });
    events.raise(Published { word: "consumed".to_owned() });
    events.raise(Unwanted { word: "refused".to_owned() });
    events.send(Later { word: "sent".to_owned() });
    events.schedule(Later { word: "scheduled".to_owned() });
    events.raise(Hop);
}

fn never(word: &str) -> Refused {
    Refused(format!("never {word}"))
}

#[derive(DomainEvent, Serialize, Deserialize)]
pub struct Stored {
    #[serde(skip_deserializing)]
    word: &'static str,
}

#[event_handler(durable, retry(max = 2))]
async fn stored(_e: &Stored) -> Result<(), Refused> {
    Err(never("durable"))
}

#[derive(NotificationEvent, Serialize, Deserialize)]
#[event(topic = "traced")]
pub struct Published {
    word: String,
}

#[event_handler(group = "traced", retry(max = 2))]
async fn published(e: &Published) -> Result<(), Refused> {
    Err(never(&e.word))
}

#[derive(NotificationEvent, Serialize, Deserialize)]
#[event(topic = "unwanted")]
pub struct Unwanted {
    word: String,
}

#[derive(Command, Serialize, Deserialize)]
#[command(error = Refused)]
pub struct Later {
    word: String,
}

#[command_handler]
async fn later(cmd: Later) -> Result<(), Refused> {
    Err(never(&cmd.word))
}

/// Stored work that succeeds, and sets off more.
#[derive(DomainEvent, Serialize, Deserialize)]
pub struct Hop;

#[event_handler(durable)]
async fn hop(_e: &Hop, events: &mut Events) {
    events.send(Later { word: "second hop".to_owned() });
}

/// A broker that takes nothing for one topic.
#[derive(Debug, Clone)]
struct Choosy(MemoryBroker);

impl Driver for Choosy {
    fn name(&self) -> &'static str {
        "choosy"
    }

    fn publish(&self, batch: Vec<Outgoing>) -> BoxFuture<'_, Vec<Result<(), BrokerError>>> {
        Box::pin(async move {
            let mut results = Vec::new();
            for outgoing in batch {
                if outgoing.delivery.topic() == "unwanted" {
                    results.push(Err(BrokerError::new(BrokerErrorKind::Refused, "never refused")));
                } else {
                    results.extend(self.0.publish(vec![outgoing]).await);
                }
            }
            results
        })
    }

    fn subscribe(&self, subscription: Subscription) -> BoxFuture<'_, Result<Box<dyn Consumer>, BrokerError>> {
        self.0.subscribe(subscription)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.0.close()
    }
}

/// What a dead letter holds beside its trace: bytes that name it, the error of its last attempt, how many there were.
fn assert_whole(letter: &DeadLetter, word: &str, attempts: u32) {
    let payload = String::from_utf8_lossy(&letter.payload);
    assert!(payload.contains(&format!(r#""word":"{word}""#)), "{word}: {payload}");
    assert!(letter.error.contains(&format!("never {word}")), "{word}: {}", letter.error);
    assert_eq!(letter.attempts, attempts, "{word}");
}

#[tokio::test]
async fn g11_dead_letters_of_every_kind_have_the_trace_of_the_call_they_come_of() {
    bounded(async {
        let broker = Broker::driver(Choosy(MemoryBroker::new()));
        let harness = Harness::with(|builder| builder.broker(broker)).await;
        harness.send(Begin).header("traceparent", TRACE).await.unwrap();
        harness.settle_for_hours(8).await;
        let letters = harness.dead().await;
        let words = [("durable", 2), ("consumed", 2), ("refused", 1), ("sent", 5), ("scheduled", 5), ("second hop", 5)];
        let found: BTreeMap<&str, &DeadLetter> = words
            .iter()
            .filter_map(|(word, _)| {
                let error = format!("never {word}");
                Some((*word, letters.iter().find(|letter| letter.error.contains(&error))?))
            })
            .collect();
        assert_eq!((found.len(), letters.len()), (words.len(), words.len()), "{letters:#?}");
        for (word, attempts) in words {
            assert_whole(found[word], word, attempts);
            let trace = found[word].headers.get("traceparent").map(String::as_str);
            assert_eq!(trace, Some(TRACE), "{word}: {:?}", found[word].headers);
        }
        assert_eq!(found["refused"].id.source, DeadSource::Outbox);
    })
    .await;
}
