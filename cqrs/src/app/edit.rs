//! Whether a dead letter's new payload is one: it is read as its handler or its consumers would read it.

use std::collections::BTreeMap;
use std::fmt;

use super::App;
use crate::broker::Delivery;
use crate::message::{MessageKind, MessageSpec};
use crate::store::{DeadLetter, DeadSource, StoreError};
use crate::{Error, wire, worker};

/// Why a dead letter was not edited. Nothing was changed.
#[derive(Debug)]
#[non_exhaustive]
pub enum EditError {
    /// The payload cannot be read as the message it stands for.
    Unreadable {
        /// The message's stored name.
        name: String,
        /// What is wrong with it.
        what: String,
    },
    /// This program has no type, or no handler, for the message: it cannot tell whether the payload is one.
    Unknown {
        /// The message's stored name.
        name: String,
        /// Its version.
        version: u32,
    },
    /// The store failed.
    Store(StoreError),
}

impl fmt::Display for EditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { name, what } => {
                write!(f, "the payload cannot be read as `{name}`: {what}; the dead letter is as it was")
            }
            Self::Unknown { name, version } => write!(
                f,
                "this program has nothing that takes `{name}`, version {version}, so it cannot tell whether the payload is \
                 one: edit it with a program that does; the dead letter is as it was"
            ),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for EditError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Store(error) => error.source(),
            _ => None,
        }
    }
}

impl From<StoreError> for EditError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<EditError> for Error {
    fn from(error: EditError) -> Self {
        match error {
            EditError::Store(error) => Self::Store(error),
            error => Self::Other(error.into()),
        }
    }
}

/// Reads a payload as the message of a letter. Gives the letter's headers as they are to be: nobody compresses what is edited.
pub(super) async fn check(
    app: &App,
    letter: &DeadLetter,
    payload: &[u8],
) -> Result<BTreeMap<String, String>, EditError> {
    let headers = wire::without_encoding(&letter.headers);
    let limit = app.options().payload_limit;
    let is_whole = letter.id.source == DeadSource::Outbox || (letter.handler.is_empty() && !letter.group.is_empty());
    let most = if is_whole { limit.saturating_add(wire::ENVELOPE) } else { limit };
    if payload.len() > most {
        return Err(unreadable(letter, format!("it is {} bytes, over the limit of {most}", payload.len())));
    }
    if is_whole {
        check_whole(app, letter, &headers, payload).await?;
    } else {
        let spec = target(app, letter).ok_or_else(|| unknown(letter))?;
        read(letter, &[spec], letter.version, &headers, payload).await?;
    }
    Ok(headers)
}

fn unreadable(letter: &DeadLetter, what: impl Into<String>) -> EditError {
    EditError::Unreadable { name: letter.name.clone(), what: what.into() }
}

fn unknown(letter: &DeadLetter) -> EditError {
    EditError::Unknown { name: letter.name.clone(), version: letter.version }
}

/// The type of stored work's message.
fn target(app: &App, letter: &DeadLetter) -> Option<&'static MessageSpec> {
    let plan = app.plan();
    if letter.handler.is_empty() {
        return plan.stored_command(&letter.name, letter.version);
    }
    let spec = app.planned(plan.handler_by_path(&letter.handler)?).item.message;
    (spec.name == letter.name && spec.reads(letter.version)).then_some(spec)
}

/// Checks a body as it goes over the wire: that of an event that could not be published, or of a message that no handler of its
/// group could be given.
async fn check_whole(
    app: &App,
    letter: &DeadLetter,
    headers: &BTreeMap<String, String>,
    payload: &[u8],
) -> Result<(), EditError> {
    let mut delivery = Delivery::new(letter.topic.clone(), payload);
    (delivery.headers, delivery.key) = (headers.clone(), letter.key.clone());
    let limit = app.options().payload_limit;
    let received =
        wire::read(&delivery, app.clock().now(), limit).map_err(|error| unreadable(letter, error.to_string()))?;
    if received.payload.len() > limit {
        return Err(unreadable(
            letter,
            format!("its payload is {} bytes, over the limit of {limit}", received.payload.len()),
        ));
    }
    let specs: Vec<&'static MessageSpec> = if letter.id.source == DeadSource::Outbox {
        if (received.name.as_str(), received.id) != (letter.name.as_str(), letter.message_id) {
            let what =
                format!("it says it is `{}` with the id {}, and not {}", received.name, received.id, letter.message_id);
            return Err(unreadable(letter, what));
        }
        let is_event = |spec: &&&MessageSpec| spec.kind == MessageKind::NotificationEvent && spec.name == received.name;
        app.plan().messages.iter().filter(is_event).copied().collect()
    } else {
        let group = app.plan().groups.get(letter.group.as_str());
        let takers = group.map(|group| group.takers(&received.name, &letter.topic)).unwrap_or_default();
        takers.into_iter().map(|(handler, _)| app.planned(handler).item.message).collect()
    };
    let readers: Vec<_> = specs.into_iter().filter(|spec| spec.reads(received.version)).collect();
    if readers.is_empty() {
        return Err(EditError::Unknown { name: received.name, version: received.version });
    }
    read(letter, &readers, received.version, headers, &received.payload).await
}

async fn read(
    letter: &DeadLetter,
    readers: &[&'static MessageSpec],
    version: u32,
    headers: &BTreeMap<String, String>,
    payload: &[u8],
) -> Result<(), EditError> {
    for spec in readers {
        let read = worker::decode(spec, version, wire::payload_of(headers), payload).await;
        read.map_err(|what| unreadable(letter, what))?;
    }
    Ok(())
}
