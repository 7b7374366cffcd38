//! Publishing: keys side by side, the messages of a key one behind the other.
//!
//! The next message of a key is sent when the one before it is stored. A server may lose or refuse one message and store
//! the next, and a client that reconnects may have lost what it had sent but not what it sends next: behind the one that
//! failed, the next would then stand before it for ever.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU16, Ordering};

use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::{Context, ErrorCode};
use futures_util::StreamExt;

use super::address::wrong;
use super::link::{Link, MAX_IN_FLIGHT, unavailable};
use super::{headers, name};
use crate::broker::driver::Outgoing;
use crate::broker::{BrokerError, BrokerErrorKind};

/// Messages of one key in their order, each with its place in the batch; one without key stands alone.
type Lane = Vec<(usize, Outgoing)>;

type Answer = Result<(), BrokerError>;

/// Publishes a batch.
pub(super) async fn publish(link: &Link, turn: &AtomicU16, batch: Vec<Outgoing>) -> Vec<Answer> {
    let count = batch.len();
    let mut answers: Vec<Answer> = Vec::new();
    answers.resize_with(count, || Err(unavailable("the message was not published")));
    let lanes = futures_util::stream::iter(lanes(batch)).map(|lane| publish_lane(link, turn, lane));
    let mut ended = lanes.buffer_unordered(MAX_IN_FLIGHT);
    while let Some(lane) = ended.next().await {
        for (at, answer) in lane {
            answers[at] = answer;
        }
    }
    answers
}

fn lanes(batch: Vec<Outgoing>) -> Vec<Lane> {
    let mut lanes: Vec<Lane> = Vec::new();
    let mut by_key: HashMap<(String, String), usize> = HashMap::new();
    for (at, outgoing) in batch.into_iter().enumerate() {
        let delivery = &outgoing.delivery;
        let key = delivery.message_key().map(|key| (delivery.topic().to_owned(), key.to_owned()));
        let lane = key.map_or(lanes.len(), |key| *by_key.entry(key).or_insert(lanes.len()));
        if lane == lanes.len() {
            lanes.push(Vec::new());
        }
        lanes[lane].push((at, outgoing));
    }
    lanes
}

async fn publish_lane(link: &Link, turn: &AtomicU16, lane: Lane) -> Vec<(usize, Answer)> {
    let (mut answers, mut failed) = (Vec::with_capacity(lane.len()), false);
    for (at, outgoing) in lane {
        let answer = if failed {
            Err(unavailable("an earlier message of its key was not published"))
        } else {
            publish_one(link, turn, outgoing).await
        };
        failed |= answer.is_err();
        answers.push((at, answer));
    }
    answers
}

async fn publish_one(link: &Link, turn: &AtomicU16, outgoing: Outgoing) -> Answer {
    let Outgoing { id, delivery } = outgoing;
    let context = link.context().await?;
    let stream = link.topic(delivery.topic()).await?;
    let slot = match delivery.message_key() {
        Some(key) => name::slot(key, link.slots()),
        None => turn.fetch_add(1, Ordering::Relaxed) % link.slots(),
    };
    let mut headers = headers::write(delivery.headers(), delivery.message_key());
    headers.insert(async_nats::header::NATS_MESSAGE_ID, id.to_string());
    let size = headers::size(&headers) + delivery.payload().len();
    let most = context.client().max_payload();
    if size > most {
        let what = format!("the message is {size} bytes with its headers, over the limit of the NATS server, {most}");
        return Err(BrokerError::new(BrokerErrorKind::Refused, what));
    }
    let subject = name::subject(delivery.topic(), slot);
    let message = PublishMessage::build().headers(headers).payload(delivery.payload.into());
    send(context, subject, message).await.map_err(|error| judge(link, &delivery.topic, &stream, error))
}

async fn send(context: &Context, subject: String, message: PublishMessage) -> Result<(), PublishError> {
    context.send_publish(subject, message).await?.await?;
    Ok(())
}

fn judge(link: &Link, topic: &str, stream: &str, error: PublishError) -> BrokerError {
    let fault =
        std::error::Error::source(&error).and_then(|source| source.downcast_ref::<async_nats::jetstream::Error>());
    let fault = fault.map(async_nats::jetstream::Error::error_code);
    let what = match (error.kind(), fault) {
        (PublishErrorKind::StreamNotFound, _) => {
            link.forget(topic);
            unavailable(format!("no stream takes the topic `{topic}` (it would be `{stream}`)"))
        }
        (PublishErrorKind::MaxPayloadExceeded, _) | (_, Some(ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM)) => {
            BrokerError::new(
                BrokerErrorKind::Refused,
                format!("the message is larger than NATS takes for the topic `{topic}`"),
            )
        }
        (_, Some(ErrorCode::STREAM_SEALED)) => wrong(format!("the stream `{stream}` of the topic `{topic}` is sealed")),
        (PublishErrorKind::TimedOut, _) => {
            unavailable(format!("NATS does not confirm a message of the topic `{topic}` in time"))
        }
        _ => unavailable(format!("NATS does not store a message of the topic `{topic}`")),
    };
    what.with_source(error)
}
