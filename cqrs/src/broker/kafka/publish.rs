//! What becomes of a batch: its topics, its answers, and what they mean for the messages behind.

use std::collections::{BTreeMap, HashSet};
use std::time::Instant;

use rdkafka::error::RDKafkaErrorCode as Code;

use super::Shared;
use super::error::{configuration, explain, kind_of, unavailable};
use super::producer::{Answer, Producer};
use crate::broker::driver::Outgoing;
use crate::broker::lanes::{fail_followers, lane_of};
use crate::broker::options::Declare;
use crate::broker::{BrokerError, BrokerErrorKind, Delivery};

type Results = Vec<Result<(), BrokerError>>;

/// Publishes a batch, in order for each key.
pub(super) async fn publish(shared: &Shared, batch: Vec<Outgoing>) -> Results {
    let unusable = unusable_topics(shared, &batch).await;
    let mut results = if unusable.is_empty() {
        send(shared, &batch).await
    } else {
        let trouble = |outgoing: &Outgoing| unusable.get(outgoing.delivery.topic());
        let usable: Vec<_> = batch.iter().filter(|outgoing| trouble(outgoing).is_none()).cloned().collect();
        let mut answered = send(shared, &usable).await.into_iter();
        let results = batch.iter().map(|outgoing| match trouble(outgoing) {
            Some((kind, what)) => Err(BrokerError::new(*kind, what.clone())),
            None => answered.next().unwrap_or_else(|| Err(unavailable("Kafka gave no answer"))),
        });
        results.collect()
    };
    fail_followers(batch.iter().map(|outgoing| lane_of(&outgoing.delivery)), &mut results);
    results
}

/// Sees to the topics of a batch. Gives those that cannot be used, with why.
async fn unusable_topics(shared: &Shared, batch: &[Outgoing]) -> BTreeMap<String, (BrokerErrorKind, String)> {
    let topics: HashSet<_> = batch.iter().map(|outgoing| outgoing.delivery.topic()).collect();
    let mut unusable = BTreeMap::new();
    for topic in topics {
        if let Err(error) = shared.topics.see_to(&[topic]).await {
            let source = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
            unusable.insert(topic.to_owned(), (error.kind(), format!("{error}{source}")));
        }
    }
    unusable
}

async fn send(shared: &Shared, batch: &[Outgoing]) -> Results {
    let begun = Instant::now();
    let producer = match shared.producer() {
        Ok(producer) => producer,
        Err(error) => return batch.iter().map(|_| Err(BrokerError::new(error.kind(), error.to_string()))).collect(),
    };
    let mut answers = producer.send(batch).await;
    one_by_one(shared, batch, &mut answers).await;
    let why = producer.why(begun);
    let judged =
        batch.iter().zip(answers).map(|(outgoing, answer)| judge(shared, &outgoing.delivery, answer, why.as_deref()));
    judged.collect()
}

/// What the broker refuses may be refused for what it travelled with, of this call or another. Sent alone, each message shows whether it
/// is the one; what was behind it was not published, so no order is lost.
async fn one_by_one(shared: &Shared, batch: &[Outgoing], answers: &mut [Option<Answer>]) {
    let (mut failed, mut own, mut is_early) = (HashSet::new(), None, false);
    for (outgoing, answer) in batch.iter().zip(answers) {
        let lane = lane_of(&outgoing.delivery);
        let free = lane.is_none_or(|lane| !failed.contains(&lane));
        if free && may_be_of_another(answer.as_ref()) {
            // Once the clock is known to be ahead, it is so for all.
            *answer = if is_early { None } else { alone(shared, &mut own, outgoing).await };
        }
        is_early |= code_of(answer.as_ref()) == Some(Code::InvalidTimestamp);
        if !matches!(answer, Some(Ok(()))) {
            failed.extend(lane);
        }
    }
    if let Some(own) = own {
        own.retire();
    }
}

/// Sends a message by a producer of our own, which no other call hands anything to; a new one where it has failed for good.
async fn alone(shared: &Shared, own: &mut Option<Producer>, outgoing: &Outgoing) -> Option<Answer> {
    if shared.is_closed() {
        return None;
    }
    let producer = match own.take() {
        Some(producer) if !producer.is_retired() => producer,
        _ => Producer::new(&shared.config).ok()?,
    };
    let answer = producer.send(std::slice::from_ref(outgoing)).await.pop().flatten();
    *own = Some(producer);
    answer
}

/// Whether the broker refuses a message by a word that it also has for others of its batch. `InvalidRecord` is what the library makes
/// of any, where several of a batch are wrong.
fn may_be_of_another(answer: Option<&Answer>) -> bool {
    matches!(code_of(answer), Some(Code::MessageSizeTooLarge | Code::MessageBatchTooLarge | Code::InvalidRecord))
}

fn code_of(answer: Option<&Answer>) -> Option<Code> {
    answer?.as_ref().err()?.rdkafka_error_code()
}

fn judge(shared: &Shared, delivery: &Delivery, answer: Option<Answer>, why: Option<&str>) -> Result<(), BrokerError> {
    let topic = delivery.topic();
    let error = match answer {
        Some(Ok(())) => return Ok(()),
        Some(Err(error)) => error,
        None => return Err(unavailable("Kafka was not given the message, or gave no answer about it")),
    };
    match error.rdkafka_error_code() {
        Some(Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition) => {
            // It was there, or nobody looked: the next call looks, and makes it where that is ours to do.
            shared.topics.forget(topic);
            let what = format!("Kafka has no topic `{topic}`");
            Err(match shared.config.declare {
                Declare::Create => unavailable(format!("{what} any more; it is made anew")),
                Declare::Check | Declare::Leave => configuration(what),
            }
            .with_source(error))
        }
        Some(Code::PurgeQueue | Code::PurgeInflight | Code::MessageTimedOut | Code::Fatal | Code::GaplessGuarantee) => {
            let why = why.unwrap_or("it gave no answer in time");
            Err(unavailable(format!("Kafka has not confirmed the message: {why}")).with_source(error))
        }
        Some(code) if kind_of(code) == BrokerErrorKind::Refused => {
            let size = delivery.payload().len();
            Err(explain(format!("Kafka refuses the message of {size} bytes for the topic `{topic}`"), error))
        }
        _ => Err(explain(format!("Kafka has not confirmed the message for the topic `{topic}`"), error)),
    }
}
