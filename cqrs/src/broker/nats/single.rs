//! One message, asked for by itself. It comes wrapped in JSON, so that nothing in it can end the connection: the library drops
//! one over which a message comes whose headers it cannot read.

use async_nats::jetstream::Context;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::headers;
use crate::broker::Delivery;

/// The next message of a subject from a sequence number on.
#[derive(Serialize)]
struct Next<'a> {
    seq: u64,
    next_by_subj: &'a str,
}

/// What the server answers: a message, or an error where there is none.
#[derive(Deserialize)]
struct Answer {
    message: Option<Stored>,
}

/// Headers and body are in base 64.
#[derive(Deserialize)]
struct Stored {
    seq: u64,
    hdrs: Option<String>,
    data: Option<String>,
}

/// The next message of a subject and its number. None where there is none, and where the server does not say: then it comes the
/// usual way.
pub(super) async fn next(
    context: &Context,
    stream: &str,
    subject: &str,
    from: u64,
    topic: &str,
) -> Result<Option<(u64, Delivery)>, crate::BoxError> {
    let request = Next { seq: from, next_by_subj: subject };
    let answer: Answer = match context.request(format!("STREAM.MSG.GET.{stream}"), &request).await {
        Ok(answer) => answer,
        Err(error) => {
            tracing::debug!(topic, %error, "a single message cannot be asked for");
            return Ok(None);
        }
    };
    let Some(Stored { seq, hdrs, data }) = answer.message else { return Ok(None) };
    let written = STANDARD.decode(hdrs.unwrap_or_default())?;
    let payload = STANDARD.decode(data.unwrap_or_default())?;
    let (headers, key) = headers::read(Some(&headers::parse(&written)));
    Ok(Some((seq, Delivery { topic: topic.to_owned(), key, headers, payload })))
}
