//! What people who operate a service ask of a store, in the shape it crosses the driver's boundary.

use std::collections::BTreeMap;
use std::time::SystemTime;

use uuid::Uuid;

use super::{DeadLetter, DeadLetterId, DeadSource, OutboxRecord, StoreError, TimerRecord};
use crate::store::driver::BoxFuture;

/// What a store does for people who operate a service: it looks into the outbox, finds dead letters and timers, and does
/// with them what it is told to, each time writing down who did it, in the same transaction.
///
/// A [`Driver`](super::driver::Driver) gives it out by [`operations`](super::driver::Driver::operations).
pub trait Operations: Send + Sync {
    /// How many rows of the outbox are in which state, and when the oldest of those that are neither published nor dead was
    /// raised.
    ///
    /// A store may not know of every row that somebody is busy with: then it counts those of this process as claimed, and
    /// others as ready.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn outbox_status(&self) -> BoxFuture<'_, Result<OutboxStatus, StoreError>>;

    /// Rows of the outbox in one state, in the order of storing.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn outbox_rows(&self, search: OutboxSearch) -> BoxFuture<'_, Result<Vec<OutboxRow>, StoreError>>;

    /// Dead letters that a filter takes, oldest first: by when their messages were made, and of the same time those of the
    /// outbox before stored work, each in the order of storing.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn find_dead(&self, search: DeadSearch) -> BoxFuture<'_, Result<Vec<DeadLetter>, StoreError>>;

    /// A dead letter. `None` where there is none of this name.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn dead_letter(&self, id: DeadLetterId) -> BoxFuture<'_, Result<Option<DeadLetter>, StoreError>>;

    /// Timers that wait and that a filter takes, soonest first, at most `limit`.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn find_timers(&self, filter: TimerFilter, limit: usize) -> BoxFuture<'_, Result<Vec<TimerRecord>, StoreError>>;

    /// Does what it is told to, and writes it down, in one transaction. `false`, and nothing is done nor written down, where
    /// there is no row of that name in a state in which this can be done to it.
    ///
    /// # Errors
    /// Fails with what the database said; nothing was done, unless it is
    /// [`CommitUnknown`](super::StoreErrorKind::CommitUnknown).
    fn operate(&self, operation: Operation, signed: Signed) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// What was done, latest first, at most `limit`; with `before` only what was written down before that entry.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn audit(&self, before: Option<i64>, limit: usize) -> BoxFuture<'_, Result<Vec<AuditEntry>, StoreError>>;

    /// Forgets what was done before. Gives the number of entries.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn purge_audit(&self, before: SystemTime) -> BoxFuture<'_, Result<u64, StoreError>>;
}

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
    /// Rows that somebody is busy with; see [`Operations::outbox_status`].
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

/// Which dead letters are meant: those that are all of what is said. With nothing said, all.
///
/// ```
/// use cqrs::store::DeadFilter;
///
/// let refused = DeadFilter::new().group("billing").error("card expired");
/// assert_eq!(refused.to_string(), "group = billing, error ~ card expired");
/// assert_eq!(DeadFilter::new().to_string(), "all");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadFilter {
    /// Of this topic.
    pub topic: Option<String>,
    /// For this handler, `module::function`.
    pub handler: Option<String>,
    /// Of this consumer group.
    pub group: Option<String>,
    /// With this stored name.
    pub name: Option<String>,
    /// With this text in their error.
    pub error: Option<String>,
    /// Whose message was made then or later.
    pub since: Option<SystemTime>,
    /// Whose message was made then or earlier.
    pub until: Option<SystemTime>,
}

impl DeadFilter {
    /// All dead letters.
    pub fn new() -> Self {
        Self::default()
    }

    /// Those of a topic.
    #[must_use]
    pub fn topic(mut self, topic: impl Into<String>) -> Self {
        self.topic = Some(topic.into());
        self
    }

    /// Those for a handler, named `module::function`.
    #[must_use]
    pub fn handler(mut self, handler: impl Into<String>) -> Self {
        self.handler = Some(handler.into());
        self
    }

    /// Those of a consumer group.
    #[must_use]
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.group = Some(group.into());
        self
    }

    /// Those with a stored name.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Those with a text in their error, told apart byte by byte.
    #[must_use]
    pub fn error(mut self, text: impl Into<String>) -> Self {
        self.error = Some(text.into());
        self
    }

    /// Those whose message was made then or later.
    #[must_use]
    pub fn since(mut self, since: SystemTime) -> Self {
        self.since = Some(since);
        self
    }

    /// Those whose message was made then or earlier.
    #[must_use]
    pub fn until(mut self, until: SystemTime) -> Self {
        self.until = Some(until);
        self
    }

    /// Whether a letter is meant.
    pub fn takes(&self, letter: &DeadLetter) -> bool {
        let is = |said: &Option<String>, of: &str| said.as_deref().is_none_or(|said| said == of);
        is(&self.topic, &letter.topic)
            && is(&self.handler, &letter.handler)
            && is(&self.group, &letter.group)
            && is(&self.name, &letter.name)
            && self.error.as_deref().is_none_or(|text| letter.error.contains(text))
            && self.since.is_none_or(|since| letter.created_at >= since)
            && self.until.is_none_or(|until| letter.created_at <= until)
    }

    /// Whether letters of the outbox may be meant: they have neither handler nor group.
    #[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
    pub(super) fn takes_events(&self) -> bool {
        [&self.handler, &self.group].into_iter().all(|said| said.as_deref().is_none_or(str::is_empty))
    }
}

impl std::fmt::Display for DeadFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let time = |time: &SystemTime| humantime::format_rfc3339_micros(*time).to_string();
        let said = [
            ("topic =", self.topic.clone()),
            ("handler =", self.handler.clone()),
            ("group =", self.group.clone()),
            ("name =", self.name.clone()),
            ("error ~", self.error.clone()),
            ("since", self.since.as_ref().map(time)),
            ("until", self.until.as_ref().map(time)),
        ];
        let said: Vec<String> =
            said.into_iter().filter_map(|(what, value)| Some(format!("{what} {}", value?))).collect();
        f.write_str(if said.is_empty() { "all" } else { "" })?;
        f.write_str(&said.join(", "))
    }
}

/// Which dead letters are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadSearch {
    /// Those that it takes.
    pub filter: DeadFilter,
    /// Behind the letter of this time and name.
    pub after: Option<(SystemTime, DeadLetterId)>,
    /// At most so many.
    pub limit: usize,
    /// Whether their payloads are wanted, too; otherwise they are empty.
    pub with_payload: bool,
}

impl DeadSearch {
    /// Where to go on among those of one source: behind a time and a number.
    pub(super) fn place(&self, source: DeadSource) -> Option<(SystemTime, i64)> {
        let (time, id) = self.after?;
        Some(match (source, id.source) {
            (DeadSource::Outbox, DeadSource::Work) => (time, i64::MAX),
            (DeadSource::Work, DeadSource::Outbox) => (time, i64::MIN),
            _ => (time, id.seq),
        })
    }

    /// What is wanted of both sources together.
    pub(super) fn merged(&self, mut letters: Vec<DeadLetter>) -> Vec<DeadLetter> {
        letters.sort_by_key(|letter| (letter.created_at, letter.id.source == DeadSource::Work, letter.id.seq));
        letters.truncate(self.limit);
        letters
    }
}

/// Which timers are meant: those that are all of what is said.
///
/// ```
/// use cqrs::store::TimerFilter;
///
/// let reminders = TimerFilter::new().name("Remind");
/// let one = reminders.clone().key("order-7");
/// # assert_ne!(reminders, one);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TimerFilter {
    /// Of the command with this stored name.
    pub name: Option<String>,
    /// With this key.
    pub key: Option<String>,
}

impl TimerFilter {
    /// All timers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Those of a command, by its type.
    #[must_use]
    pub fn command<C: crate::Command>(self) -> Self {
        self.name(C::SPEC.name)
    }

    /// Those of a command, by its stored name.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Those with a key.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }
}

/// The name of a timer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TimerName {
    /// The id that it was given when it was scheduled.
    Id(Uuid),
    /// Its command and its key.
    Key {
        /// The command's stored name.
        name: String,
        /// The key.
        key: String,
    },
}

impl TimerName {
    /// The timer of a command, by its key.
    pub fn of<C: crate::Command>(key: impl Into<String>) -> Self {
        Self::Key { name: C::SPEC.name.to_owned(), key: key.into() }
    }
}

impl From<crate::TimerId> for TimerName {
    fn from(id: crate::TimerId) -> Self {
        Self::Id(id.uuid())
    }
}

impl From<Uuid> for TimerName {
    fn from(id: Uuid) -> Self {
        Self::Id(id)
    }
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// Makes a dead letter due again, in its place, its attempts forgotten.
    Replay(DeadLetterId),
    /// Deletes a dead letter; what it held back goes on.
    Discard(DeadLetterId),
    /// Gives a dead letter another payload and other headers, and makes it due again.
    Edit {
        /// Which.
        id: DeadLetterId,
        /// The payload from now on.
        payload: Vec<u8>,
        /// The headers from now on.
        headers: BTreeMap<String, String>,
    },
    /// Makes an outbox row due now that waits, its attempts counted as before; a dead one is replayed.
    Requeue(OutboxId),
    /// Moves a timer that is neither being done nor dead: it begins anew, and keeps its id. Where several wait under one key,
    /// the last one stored is moved, and the others go, as when one is stored.
    Reschedule {
        /// Which.
        timer: TimerName,
        /// When it is due from now on.
        due: SystemTime,
    },
    /// Deletes a timer that is neither being done nor dead.
    Cancel(TimerName),
}

impl Operation {
    /// As what it is written down.
    pub const fn action(&self) -> AuditAction {
        match self {
            Self::Replay(_) => AuditAction::Replay,
            Self::Discard(_) => AuditAction::Discard,
            Self::Edit { .. } => AuditAction::Edit,
            Self::Requeue(_) => AuditAction::Requeue,
            Self::Reschedule { .. } => AuditAction::Reschedule,
            Self::Cancel(_) => AuditAction::Cancel,
        }
    }
}

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
}

impl AuditAction {
    /// Every action.
    pub const ALL: [Self; 6] = [Self::Replay, Self::Discard, Self::Edit, Self::Requeue, Self::Reschedule, Self::Cancel];

    /// The action as it is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Replay => "replay",
            Self::Discard => "discard",
            Self::Edit => "edit",
            Self::Requeue => "requeue",
            Self::Reschedule => "reschedule",
            Self::Cancel => "cancel",
        }
    }

    /// Reads the action as it is stored.
    pub fn from_stored(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == text)
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
    pub source: DeadSource,
    /// The row's number there.
    pub row: i64,
    /// The message's id.
    pub message_id: Uuid,
    /// The message's stored name.
    pub name: String,
    /// The message's key; of a timer, the timer's.
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
    pub source: DeadSource,
    /// Its number there.
    pub row: i64,
    /// The message's id.
    pub message_id: Uuid,
    /// The message's stored name.
    pub name: String,
    /// The message's key, or the timer's.
    pub key: Option<String>,
    /// What was different before.
    pub change: Option<AuditChange>,
}

/// Changes as databases keep them: two numbers, and what they are, by the action.
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
impl AuditChange {
    pub(super) fn stored(change: Option<Self>, micros: fn(SystemTime) -> i64) -> (Option<i64>, Option<i64>) {
        let count = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        match change {
            None => (None, None),
            Some(Self::Size { before, after }) => (Some(count(before)), Some(count(after))),
            Some(Self::Due { before, after }) => (Some(micros(before)), Some(micros(after))),
        }
    }

    pub(super) fn from_stored(
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
impl DeadSource {
    pub(super) const fn stored(self) -> &'static str {
        match self {
            Self::Outbox => "outbox",
            Self::Work => "work",
        }
    }

    pub(super) fn from_stored(text: &str) -> Self {
        if text == "outbox" { Self::Outbox } else { Self::Work }
    }
}

#[cfg(test)]
pub(in crate::store) mod tests;
