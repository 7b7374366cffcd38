//! Reading a message by itself, as the server has stored it.
//!
//! Anybody may publish headers that are none. The server stores and delivers them as they are; the client cannot read
//! them, and ends the connection: each time, and for all who use it. Within an answer of the server they do no harm.

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::response::Response;
use async_nats::jetstream::stream::RawMessage;
use serde::Deserialize;
use serde_json::json;

use super::link::Link;
use super::shared::Shared;
use super::table::SlotId;
use super::{headers, name};
use crate::BoxError;
use crate::broker::Delivery;

#[derive(Debug, Deserialize)]
struct Stored {
    message: RawMessage,
}

/// Reads a slot on, one message after the other, up to the first that the client can read.
pub(super) async fn read(link: &Link, shared: &Shared, id: &SlotId, made: i64) -> Result<(), BoxError> {
    let (topic, slot) = id;
    let (subject, (stream, its)) = (name::subject(topic, *slot), link.stream(topic).await?);
    if its.made != made {
        shared.lose(id);
    }
    while shared.room(id).await.is_some() {
        let Some(last) = shared.last_read(id) else { break };
        let ask = json!({ "seq": last + 1, "next_by_subj": subject });
        let answer = link.context().await?.request(format!("STREAM.MSG.GET.{stream}"), &ask).await?;
        let message = match answer {
            Response::Ok(Stored { message }) => message,
            Response::Err { error } if error.error_code() == ErrorCode::NO_MESSAGE_FOUND => break,
            Response::Err { error } => return Err(error.into()),
        };
        // A server before 2.9 looks at the number alone.
        if message.subject != subject {
            break;
        }
        let sequence = message.sequence;
        let (delivery, is_sound) = delivery(topic, message)?;
        if !is_sound {
            tracing::warn!(
                topic,
                slot,
                sequence,
                "the headers of a message are none: what can be read of them is kept"
            );
        }
        if !shared.offer(id, sequence, delivery) || is_sound {
            break;
        }
    }
    Ok(())
}

/// A message, and whether the client can read it.
fn delivery(topic: &str, message: RawMessage) -> Result<(Delivery, bool), BoxError> {
    let payload = bytes(&message, &message.payload)?;
    let stored = message.headers.as_deref().map(|headers| bytes(&message, headers)).transpose()?;
    let sound = StreamMessage::try_from(message);
    let is_sound = sound.is_ok();
    let (headers, key) = match sound {
        Ok(message) => headers::read(Some(&message.headers)),
        Err(_) => headers::read_stored(&stored.unwrap_or_default()),
    };
    Ok((Delivery { topic: topic.to_owned(), key, headers, payload }, is_sound))
}

/// The bytes of a part of a message: of the client's own reading, the part that leaves headers alone.
fn bytes(message: &RawMessage, part: &str) -> Result<Vec<u8>, BoxError> {
    let alone = RawMessage { payload: part.to_owned(), headers: None, ..message.clone() };
    Ok(StreamMessage::try_from(alone)?.payload.into())
}
