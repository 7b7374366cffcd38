//! What becomes of a batch: its topics, its answers, and what they mean for the messages behind.

use std::collections::{BTreeMap, HashSet};
use std::time::Instant;

use rdkafka::error::RDKafkaErrorCode as Code;

use super::Shared;
use super::error::{configuration, explain, kind_of, unavailable};
use super::producer::Answer;
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
/// is the one; what was behind it was not published, so no order is lost. Once the broker says nothing, the rest waits: of it nothing is
/// known.
async fn one_by_one(shared: &Shared, batch: &[Outgoing], answers: &mut [Option<Answer>]) {
    if !answers.iter().any(|answer| may_be_of_another(answer.as_ref())) {
        return;
    }
    let turn = shared.alone.turn();
    let (mut failed, mut is_silent) = (HashSet::new(), false);
    for (outgoing, answer) in batch.iter().zip(answers) {
        let lane = lane_of(&outgoing.delivery);
        if may_be_of_another(answer.as_ref()) {
            let waits = is_silent || lane.is_some_and(|lane| failed.contains(&lane));
            *answer = if waits { None } else { turn.send(shared, outgoing).await };
            is_silent |= !waits && !is_judged(answer.as_ref());
        }
        if !matches!(answer, Some(Ok(()))) {
            failed.extend(lane);
        }
    }
}

/// Whether the broker has said what it makes of a message.
fn is_judged(answer: Option<&Answer>) -> bool {
    matches!(answer, Some(Ok(())))
        || code_of(answer)
            .is_some_and(|code| kind_of(code) == BrokerErrorKind::Refused || code == Code::InvalidTimestamp)
}

/// Whether the broker refuses a message by a word that it also has for others of its batch. `InvalidRecord` is what the library makes
/// of any, where several of a batch are wrong, and `InvalidDifferentRecord` of one that is sound itself.
fn may_be_of_another(answer: Option<&Answer>) -> bool {
    let code = code_of(answer);
    matches!(code, Some(Code::MessageSizeTooLarge | Code::MessageBatchTooLarge | Code::InvalidRecord))
        || code == Some(Code::InvalidDifferentRecord)
}

pub(super) fn code_of(answer: Option<&Answer>) -> Option<Code> {
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
