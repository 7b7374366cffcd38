//! What groups keep in the bucket: the table of a group, and the record of each slot.
//!
//! Every write names the revision it replaces, so that who has been overtaken writes nothing: whoever takes a slot over
//! writes its record first, and from then on the one before cannot.

use async_nats::jetstream::kv::{CreateErrorKind, Operation, Store, UpdateErrorKind};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::link::unavailable;
use super::slot::Progress;
use super::{address, name};
use crate::broker::BrokerError;

/// Names the member that wrote it, beside how far the slot is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) owner: String,
    /// When the stream was made, in nanoseconds: another one counts its messages anew.
    pub(super) stream: i64,
    #[serde(flatten)]
    pub(super) progress: Progress,
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// It stands, as this revision.
    Stands(u64),
    /// Somebody else has written since.
    Overtaken,
}

/// The key of a group's table.
pub(super) fn table(group: &str) -> String {
    format!("{}.members", name::token(group))
}

/// The key of a slot's record.
pub(super) fn slot(group: &str, topic: &str, slot: u16) -> String {
    format!("{}.{}.{slot}", name::token(group), name::token(topic))
}

/// Reads what is kept under a key, and its revision; 0 where nothing ever was.
pub(super) async fn read<T: DeserializeOwned>(store: &Store, key: &str) -> Result<(Option<T>, u64), BrokerError> {
    let entry = store
        .entry(key)
        .await
        .map_err(|error| unavailable(format!("`{key}` cannot be read from NATS")).with_source(error))?;
    let Some(entry) = entry else { return Ok((None, 0)) };
    if entry.operation != Operation::Put {
        return Ok((None, entry.revision));
    }
    let read = serde_json::from_slice(&entry.value);
    let read =
        read.map_err(|error| address::wrong(format!("what NATS keeps under `{key}` is not ours")).with_source(error))?;
    Ok((Some(read), entry.revision))
}

/// Writes in the place of a revision.
pub(super) async fn write<T: Serialize>(
    store: &Store,
    key: &str,
    value: &T,
    revision: u64,
) -> Result<Written, BrokerError> {
    let failed = |error: crate::BoxError| unavailable(format!("`{key}` cannot be written to NATS")).with_source(error);
    let value = serde_json::to_vec(value).map_err(|error| failed(error.into()))?;
    if revision == 0 {
        return match store.create(key, value.into()).await {
            Ok(revision) => Ok(Written::Stands(revision)),
            Err(error) if error.kind() == CreateErrorKind::AlreadyExists => Ok(Written::Overtaken),
            Err(error) => Err(failed(error.into())),
        };
    }
    match store.update(key, value.into(), revision).await {
        Ok(revision) => Ok(Written::Stands(revision)),
        Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => Ok(Written::Overtaken),
        Err(error) => Err(failed(error.into())),
    }
}
