//! Who did what, and how it is written down.

use std::time::SystemTime;

use uuid::Uuid;

use crate::store::{DeadSource, SagaAsked};

/// Who does something, when, and what is to be remembered of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// Who.
    pub by: String,
    /// Now, by the app's clock.
    pub at: SystemTime,
    /// In the words of whoever does it; may be empty. Where a store's texts hold no NUL, one here or in the name comes back as
    /// U+FFFD.
    pub note: String,
}

/// What somebody did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AuditAction {
    /// A dead letter was replayed.
    Replay,
    /// A dead letter was discarded.
    Discard,
    /// A dead letter was given another payload, and replayed.
    Edit,
    /// An outbox row was made due.
    Requeue,
    /// A timer was moved.
    Reschedule,
    /// A timer was cancelled.
    Cancel,
    /// A saga was asked to undo what it has done.
    CancelSaga,
    /// A saga that was stuck was asked to go on.
    ResumeSaga,
}

impl AuditAction {
    /// Every action.
    pub const ALL: [Self; 8] = [
        Self::Replay,
        Self::Discard,
        Self::Edit,
        Self::Requeue,
        Self::Reschedule,
        Self::Cancel,
        Self::CancelSaga,
        Self::ResumeSaga,
    ];

    /// The action as it is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Replay => "replay",
            Self::Discard => "discard",
            Self::Edit => "edit",
            Self::Requeue => "requeue",
            Self::Reschedule => "reschedule",
            Self::Cancel => "cancel",
            Self::CancelSaga => "cancel saga",
            Self::ResumeSaga => "resume saga",
        }
    }

    /// Reads the action as it is stored.
    pub fn from_stored(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == text)
    }
}

impl From<SagaAsked> for AuditAction {
    fn from(asked: SagaAsked) -> Self {
        match asked {
            SagaAsked::Cancel => Self::CancelSaga,
            SagaAsked::Resume => Self::ResumeSaga,
        }
    }
}

/// Where a row lies that something was done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AuditSource {
    /// In the outbox.
    Outbox,
    /// Among stored work: messages that wait for their handlers, and timers.
    Work,
    /// Among sagas.
    Saga,
}

impl From<DeadSource> for AuditSource {
    fn from(source: DeadSource) -> Self {
        match source {
            DeadSource::Outbox => Self::Outbox,
            DeadSource::Work => Self::Work,
        }
    }
}

/// What was different before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuditChange {
    /// How many bytes the payload had, and has.
    Size {
        /// Before.
        before: u64,
        /// After.
        after: u64,
    },
    /// When it was due, and is.
    Due {
        /// Before.
        before: SystemTime,
        /// After.
        after: SystemTime,
    },
}

/// Something that somebody did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditEntry {
    /// Its number, in the order of writing.
    pub seq: i64,
    /// When.
    pub at: SystemTime,
    /// Who.
    pub by: String,
    /// What.
    pub action: AuditAction,
    /// Where the row lies, or lay.
    pub source: AuditSource,
    /// The row's number there; of a saga 0.
    pub row: i64,
    /// The message's id; of a saga the nil one.
    pub message_id: Uuid,
    /// The stored name of the message, or of the saga.
    pub name: String,
    /// The message's key; of a timer, the timer's; of a saga, its id.
    pub key: Option<String>,
    /// What was different before, where something was but that it is done.
    pub change: Option<AuditChange>,
    /// What whoever did it said.
    pub note: String,
}

impl AuditEntry {
    /// An entry of what was done to a row.
    pub fn new(seq: i64, action: AuditAction, touched: Touched, signed: Signed) -> Self {
        let Touched { source, row, message_id, name, key, change } = touched;
        let Signed { by, at, note } = signed;
        Self { seq, at, by, action, source, row, message_id, name, key, change, note }
    }
}

/// A row that something was done to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touched {
    /// Where it lies, or lay.
    pub source: AuditSource,
    /// Its number there; of a saga 0.
    pub row: i64,
    /// The message's id; of a saga the nil one.
    pub message_id: Uuid,
    /// The stored name of the message, or of the saga.
    pub name: String,
    /// The message's key, the timer's, or the saga's id.
    pub key: Option<String>,
    /// What was different before.
    pub change: Option<AuditChange>,
}

impl Touched {
    /// A saga of this stored name and id.
    pub fn saga(name: String, id: String) -> Self {
        Self { source: AuditSource::Saga, row: 0, message_id: Uuid::nil(), name, key: Some(id), change: None }
    }
}

/// Changes as databases keep them: two numbers, and what they are, by the action.
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
impl AuditChange {
    pub(in crate::store) fn stored(change: Option<Self>, micros: fn(SystemTime) -> i64) -> (Option<i64>, Option<i64>) {
        let count = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        match change {
            None => (None, None),
            Some(Self::Size { before, after }) => (Some(count(before)), Some(count(after))),
            Some(Self::Due { before, after }) => (Some(micros(before)), Some(micros(after))),
        }
    }

    pub(in crate::store) fn from_stored(
        action: AuditAction,
        numbers: (Option<i64>, Option<i64>),
        time: fn(i64) -> SystemTime,
    ) -> Option<Self> {
        let (before, after) = (numbers.0?, numbers.1?);
        Some(match action {
            AuditAction::Reschedule => Self::Due { before: time(before), after: time(after) },
            _ => Self::Size { before: before.unsigned_abs(), after: after.unsigned_abs() },
        })
    }
}

/// Sources of audited rows as databases keep them.
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
impl AuditSource {
    pub(in crate::store) const fn stored(self) -> &'static str {
        match self {
            Self::Outbox => "outbox",
            Self::Work => "work",
            Self::Saga => "saga",
        }
    }

    pub(in crate::store) fn from_stored(text: &str) -> Self {
        match text {
            "outbox" => Self::Outbox,
            "saga" => Self::Saga,
            _ => Self::Work,
        }
    }
}
