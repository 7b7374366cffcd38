//! Rows of the outbox, as they are listed and counted.

use std::time::SystemTime;

use crate::store::{DeadLetterId, DeadSource, OutboxRecord};

/// The name of an outbox row: its number, in the order of storing, which never comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OutboxId(
    /// The number.
    pub i64,
);

impl OutboxId {
    /// The same row as a dead letter.
    pub const fn dead_letter(self) -> DeadLetterId {
        DeadLetterId { source: DeadSource::Outbox, seq: self.0 }
    }
}

/// What becomes of a row of the outbox. One that is published is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OutboxState {
    /// It is published as soon as somebody looks, and nothing earlier of its key is in the way.
    Ready,
    /// Its broker did not take it; it is tried again when it is due.
    Waiting,
    /// It stands behind a dead row of its key, until that is replayed or discarded. A store finds that out when it comes to
    /// the row: until then it is ready.
    Parked,
    /// Somebody is busy with it.
    Claimed,
    /// It is a dead letter.
    Dead,
}

impl OutboxState {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::Ready, Self::Waiting, Self::Parked, Self::Claimed, Self::Dead];

    /// The state in a word: `ready`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Waiting => "waiting",
            Self::Parked => "parked",
            Self::Claimed => "claimed",
            Self::Dead => "dead",
        }
    }
}

/// How much there is in the outbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutboxStatus {
    /// Rows that may be published now, those behind others of their key included.
    pub ready: u64,
    /// Rows that wait for their next attempt.
    pub waiting: u64,
    /// Rows behind a dead one of their key.
    pub parked: u64,
    /// Rows that somebody is busy with; see [`Operations::outbox_status`](super::Operations::outbox_status).
    pub claimed: u64,
    /// Dead letters.
    pub dead: u64,
    /// When the oldest row was raised that is neither published nor dead: how far publishing is behind.
    pub oldest: Option<SystemTime>,
}

/// A row of the outbox, as it lies there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxRow {
    /// Its name.
    pub id: OutboxId,
    /// What becomes of it.
    pub state: OutboxState,
    /// The event. Of a row that is dead because it cannot be read, as much as can be.
    pub record: OutboxRecord,
    /// How many attempts were made.
    pub attempts: u32,
    /// The last attempt's error.
    pub error: Option<String>,
    /// When it is due.
    pub due_at: SystemTime,
}

/// Which rows of the outbox are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxSearch {
    /// In this state.
    pub state: OutboxState,
    /// For this topic only.
    pub topic: Option<String>,
    /// Behind this one.
    pub after: Option<OutboxId>,
    /// At most so many.
    pub limit: usize,
}
