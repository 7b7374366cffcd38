//! What a store keeps, in the shape it crosses the driver's boundary.

use std::collections::BTreeMap;
use std::time::SystemTime;

use uuid::Uuid;

/// A notification event on its way to the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxRecord {
    /// The event's id, fixed when it was raised (UUID version 7).
    pub id: Uuid,
    /// The event's stored name.
    pub name: String,
    /// The event's version.
    pub version: u32,
    /// Where it goes.
    pub topic: String,
    /// The key by which order is kept.
    pub key: Option<String>,
    /// The message as it goes over the wire.
    pub payload: Vec<u8>,
    /// The message's headers.
    pub headers: BTreeMap<String, String>,
    /// When it was raised.
    pub raised_at: SystemTime,
}

/// What a piece of stored work is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum WorkKind {
    /// A domain event for one durable handler.
    Durable,
    /// A command sent with `events.send`.
    Command,
    /// A scheduled command.
    Timer,
    /// A consumed message for one handler of a group, waiting for its next attempt or for its key.
    Consumed,
}

impl WorkKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Durable, Self::Command, Self::Timer, Self::Consumed];

    /// The kind as it is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Durable => "durable",
            Self::Command => "command",
            Self::Timer => "timer",
            Self::Consumed => "consumed",
        }
    }

    /// Reads the kind as it is stored.
    pub fn from_stored(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// A queue of stored work: what one handler takes. A program claims from the queues of the handlers it has, so that the
/// work of a handler that only another version of it has waits for that one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub struct WorkQueue {
    /// What is in it.
    pub kind: WorkKind,
    /// The consumer group; empty but for consumed messages.
    pub group: String,
    /// The handler, as in [`WorkRecord::handler`].
    pub handler: String,
}

impl WorkQueue {
    /// The commands that were sent.
    pub const fn commands() -> Self {
        Self { kind: WorkKind::Command, group: String::new(), handler: String::new() }
    }

    /// The commands that were scheduled.
    pub const fn timers() -> Self {
        Self { kind: WorkKind::Timer, group: String::new(), handler: String::new() }
    }

    /// The events of a durable handler.
    pub fn durable(handler: impl Into<String>) -> Self {
        Self { kind: WorkKind::Durable, group: String::new(), handler: handler.into() }
    }

    /// The consumed messages of a handler of a group; without handler those that were kept whole.
    pub fn consumed(group: impl Into<String>, handler: impl Into<String>) -> Self {
        Self { kind: WorkKind::Consumed, group: group.into(), handler: handler.into() }
    }
}

/// A piece of stored work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkRecord {
    /// The message's id: of the event, or of the command.
    pub id: Uuid,
    /// What it is.
    pub kind: WorkKind,
    /// The handler it is for, `module::function`; empty for commands and timers, which have one handler.
    pub handler: String,
    /// The consumer group; empty but for consumed messages.
    pub group: String,
    /// The message's stored name.
    pub name: String,
    /// The message's version.
    pub version: u32,
    /// The topic it was consumed from; empty but for consumed messages.
    pub topic: String,
    /// The message's key.
    pub key: Option<String>,
    /// Work of one lane is done in order, one at a time; no lane, no order.
    pub lane: Option<String>,
    /// A timer's key: storing a timer of the same name and key again moves it, and it keeps its id.
    pub timer_key: Option<String>,
    /// The message.
    pub payload: Vec<u8>,
    /// The message's headers.
    pub headers: BTreeMap<String, String>,
    /// When the message was made.
    pub created_at: SystemTime,
    /// When it is due.
    pub due_at: SystemTime,
    /// How many attempts were made.
    pub attempts: u32,
    /// The last attempt's error.
    pub error: Option<String>,
    /// Whether it is stored as a dead letter from the start.
    pub dead: bool,
}

impl WorkRecord {
    /// The queue it stands in.
    pub fn queue(&self) -> WorkQueue {
        WorkQueue { kind: self.kind, group: self.group.clone(), handler: self.handler.clone() }
    }
}

/// Something to be stored with a unit of work.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Record {
    /// A notification event.
    Outbox(OutboxRecord),
    /// A piece of work.
    Work(WorkRecord),
}

impl Record {
    /// The id of the message it holds.
    pub fn id(&self) -> Uuid {
        match self {
            Self::Outbox(record) => record.id,
            Self::Work(record) => record.id,
        }
    }
}

/// A claim of a row: its number, and the fence its owner must still hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Claim {
    /// The row's number, in the order of storing.
    pub seq: i64,
    /// Grows with every new owner.
    pub fence: i64,
}

/// A claimed outbox row.
#[derive(Debug, Clone)]
pub struct ClaimedOutbox {
    /// The claim.
    pub claim: Claim,
    /// How many attempts were made before.
    pub attempts: u32,
    /// The row.
    pub record: OutboxRecord,
}

/// A claimed piece of work.
#[derive(Debug, Clone)]
pub struct ClaimedWork {
    /// The claim.
    pub claim: Claim,
    /// The work; `attempts` counts those made before.
    pub record: WorkRecord,
    /// Since when programs that cannot do it have put it off, if any did.
    pub deferred_since: Option<SystemTime>,
}

/// How publishing an outbox row ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum OutboxOutcome {
    /// The broker has it: the row goes.
    Published,
    /// The broker has it, and it is to be kept: the row leaves the outbox, and stays elsewhere until it is purged.
    Kept {
        /// When the broker had it.
        at: SystemTime,
        /// Until when it is kept.
        until: SystemTime,
    },
    /// Not yet: try again at `due`.
    Retry {
        /// When to try again.
        due: SystemTime,
        /// What went wrong.
        error: String,
    },
    /// Never: the row becomes a dead letter, which holds its key.
    Dead {
        /// What went wrong.
        error: String,
    },
    /// Not attempted, because an earlier row of its key failed or the relay stops: it goes back as it was, its attempts
    /// not counted.
    HandBack,
}

impl OutboxOutcome {
    /// Whether the broker has it.
    pub fn is_published(&self) -> bool {
        matches!(self, Self::Published | Self::Kept { .. })
    }
}

/// The mark that a handler of a group has handled a message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct InboxMark {
    /// The consumer group.
    pub group: String,
    /// The handler, `module::function`.
    pub handler: String,
    /// The event's id.
    pub event_id: Uuid,
    /// When it was handled.
    pub at: SystemTime,
}

/// A claim of an idempotency key by one call.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotentClaim {
    /// The command's stored name: within it keys are told apart.
    pub name: String,
    /// The key.
    pub key: String,
    /// The call's own mark, never used twice: whoever finds another in the row has lost the key.
    pub token: Uuid,
}

/// What became of the wish to claim an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdempotentOutcome {
    /// It is claimed: the call may run.
    Claimed,
    /// A call with the key and the same payload is running.
    Running,
    /// A call with the key and the same payload has been done.
    Done {
        /// Its response.
        response: Vec<u8>,
    },
    /// The key is that of a call with another payload, running or done.
    OtherPayload,
}

/// Where a consumed message stands with a handler of its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Standing {
    /// It is there to be handled.
    New,
    /// It was handled, or is kept as stored work: there is a mark.
    Handled,
    /// Earlier work of its lane is claimed, waiting or dead.
    Behind,
}

/// Where a dead letter lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeadSource {
    /// It could not be published.
    Outbox,
    /// It could not be handled.
    Work,
}

/// The name of a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeadLetterId {
    /// Where it lies.
    pub source: DeadSource,
    /// The row's number.
    pub seq: i64,
}

/// A message that used up its retries, kept until somebody replays or discards it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DeadLetter {
    /// Its name.
    pub id: DeadLetterId,
    /// The message's id.
    pub message_id: Uuid,
    /// The message's stored name.
    pub name: String,
    /// The message's version.
    pub version: u32,
    /// The handler it was for; empty where there was none.
    pub handler: String,
    /// The consumer group; empty where there was none.
    pub group: String,
    /// The topic; empty where there was none.
    pub topic: String,
    /// The message's key.
    pub key: Option<String>,
    /// The bytes.
    pub payload: Vec<u8>,
    /// The headers, the trace parent among them.
    pub headers: BTreeMap<String, String>,
    /// How many attempts were made.
    pub attempts: u32,
    /// The last error.
    pub error: String,
    /// When the message was made.
    pub created_at: SystemTime,
}

impl DeadLetter {
    /// A dead letter; what is not given is empty and can be set on the value.
    pub fn new(id: DeadLetterId, message_id: Uuid, name: String, version: u32, error: String) -> Self {
        Self {
            id,
            message_id,
            name,
            version,
            handler: String::new(),
            group: String::new(),
            topic: String::new(),
            key: None,
            payload: Vec::new(),
            headers: BTreeMap::new(),
            attempts: 0,
            error,
            created_at: SystemTime::UNIX_EPOCH,
        }
    }
}

/// A scheduled command that waits.
#[derive(Debug, Clone)]
pub struct TimerRecord {
    /// The command's id.
    pub id: Uuid,
    /// The command's stored name.
    pub name: String,
    /// The timer's key.
    pub key: Option<String>,
    /// When it is due.
    pub due_at: SystemTime,
}

/// How much of everything a store holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Outbox rows that are not dead.
    pub outbox: u64,
    /// Stored work that is not dead, timers that are not due included.
    pub work: u64,
    /// Timers among the work.
    pub timers: u64,
    /// Inbox marks.
    pub inbox: u64,
    /// Dead letters.
    pub dead: u64,
    /// Outbox rows and work that somebody is busy with.
    pub claimed: u64,
}
