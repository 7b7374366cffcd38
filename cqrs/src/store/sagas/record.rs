//! The rows of sagas.

use std::collections::BTreeMap;
use std::time::SystemTime;

use uuid::Uuid;

/// What a saga is doing as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SagaPhase {
    /// It goes from step to step.
    Forward,
    /// It undoes what was done, and never goes forward again.
    Compensating,
    /// Every step is done.
    Completed,
    /// What was done is undone.
    Compensated,
    /// It cannot go on by itself: somebody looks, mends and resumes it.
    Stuck,
}

impl SagaPhase {
    /// Every phase.
    pub const ALL: [Self; 5] = [Self::Forward, Self::Compensating, Self::Completed, Self::Compensated, Self::Stuck];

    /// The phase in a word, as it is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Compensating => "compensating",
            Self::Completed => "completed",
            Self::Compensated => "compensated",
            Self::Stuck => "stuck",
        }
    }

    /// The phase of a word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.as_str() == word)
    }

    /// Whether nothing more will happen.
    pub const fn is_end(self) -> bool {
        matches!(self, Self::Completed | Self::Compensated)
    }
}

/// Where a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SagaProgress {
    /// It waits for its event.
    Awaiting,
    /// It is under way.
    Running,
    /// It is tried again when a pause is over.
    Pausing,
    /// It is done.
    Done,
    /// It has used up its attempts.
    Failed,
    /// It is being undone.
    Undoing,
    /// Undoing it is tried again when a pause is over.
    UndoPausing,
    /// It is undone.
    Undone,
    /// Undoing it has used up its attempts.
    Kept,
}

impl SagaProgress {
    /// Every progress.
    pub const ALL: [Self; 9] = [
        Self::Awaiting,
        Self::Running,
        Self::Pausing,
        Self::Done,
        Self::Failed,
        Self::Undoing,
        Self::UndoPausing,
        Self::Undone,
        Self::Kept,
    ];

    /// The progress in a word, as it is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Awaiting => "awaiting",
            Self::Running => "running",
            Self::Pausing => "pausing",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Undoing => "undoing",
            Self::UndoPausing => "undo pausing",
            Self::Undone => "undone",
            Self::Kept => "kept",
        }
    }

    /// The progress of a word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|progress| progress.as_str() == word)
    }
}

/// What somebody asks of a saga from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SagaAsked {
    /// To undo what was done.
    Cancel,
    /// To go on where it is stuck.
    Resume,
}

impl SagaAsked {
    /// What is asked, in a word, as it is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Resume => "resume",
        }
    }

    /// The phase of those of which it can be asked.
    pub const fn phase(self) -> SagaPhase {
        match self {
            Self::Cancel => SagaPhase::Forward,
            Self::Resume => SagaPhase::Stuck,
        }
    }

    /// What a word asks.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Cancel, Self::Resume].into_iter().find(|asked| asked.as_str() == word)
    }
}

/// A hold on a saga.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SagaClaim {
    /// The saga.
    pub id: String,
    /// Grows with every owner.
    pub fence: i64,
}

/// A saga that begins.
#[derive(Debug, Clone)]
pub struct SagaStart {
    /// Its id, unique over all sagas of the store.
    pub id: String,
    /// The stored name of its definition.
    pub name: String,
    /// The version of its definition.
    pub version: u32,
    /// What it begins with, as JSON.
    pub context: Vec<u8>,
    /// A digest of that: who starts the same again joins, who starts another one of this id is told so.
    pub digest: [u8; 32],
    /// What its messages carry: trace, correlation.
    pub headers: BTreeMap<String, String>,
    /// The steps that begin with it.
    pub steps: Vec<SagaStep>,
    /// When, by the app's clock.
    pub at: SystemTime,
    /// Who holds it.
    pub owner: String,
    /// Until when, by the clock that leases run by.
    pub lease_until: SystemTime,
}

/// What became of a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SagaStarted {
    /// It is stored.
    New(SagaClaim),
    /// There is one of this id: what it is, and what it began with.
    Known {
        /// The stored name of its definition.
        name: String,
        /// The version of its definition.
        version: u32,
        /// A digest of what it began with.
        digest: [u8; 32],
    },
}

/// A saga as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SagaRow {
    /// Its id.
    pub id: String,
    /// The stored name of its definition.
    pub name: String,
    /// The version of its definition.
    pub version: u32,
    /// What it is doing.
    pub phase: SagaPhase,
    /// Why it is stuck, in a word; empty otherwise.
    pub why: String,
    /// Its context, as JSON.
    pub context: Vec<u8>,
    /// What its messages carry.
    pub headers: BTreeMap<String, String>,
    /// Whether somebody wants it back, and it has heard of that.
    pub is_cancelled: bool,
    /// How often in a row its owner was lost, with nothing ended in between.
    pub cuts: u32,
    /// What somebody asks of it, and it has not heard of.
    pub asked: Option<SagaAsked>,
    /// The last error of a step or of a compensation.
    pub error: Option<String>,
    /// How many entries its log has.
    pub logged: u32,
    /// When it was started.
    pub started_at: SystemTime,
    /// When it changed last.
    pub changed_at: SystemTime,
    /// When it is to be looked at, where nobody holds it and it has not ended.
    pub due_at: Option<SystemTime>,
    /// Whether somebody holds it.
    pub is_held: bool,
}

/// What a step waits for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SagaWait {
    /// The stored name of the saga's definition, whose events these are.
    pub saga: String,
    /// The stored name of the event.
    pub event: String,
    /// A digest of the field by which the two find each other.
    pub key: String,
}

/// A step that has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SagaStep {
    /// Its stored name.
    pub step: String,
    /// Where it stands.
    pub progress: SagaProgress,
    /// Which attempt that is.
    pub attempt: u32,
    /// Whether an attempt may have happened that did not end.
    pub in_doubt: bool,
    /// When its pause or its wait is over.
    pub due_at: Option<SystemTime>,
    /// What it waits for.
    pub wait: Option<SagaWait>,
    /// The id of the event that it took.
    pub event: Option<Uuid>,
    /// What it returned that is kept beside the context, as JSON: the change of a member of a group, until all of them have ended;
    /// the error that it failed with, where that can be written.
    pub returned: Option<Vec<u8>>,
    /// Why it failed last.
    pub error: Option<String>,
}

impl SagaStep {
    /// A step in its first attempt, with nothing known of it but where it stands.
    pub fn new(step: impl Into<String>, progress: SagaProgress) -> Self {
        Self {
            step: step.into(),
            progress,
            attempt: 1,
            in_doubt: false,
            due_at: None,
            wait: None,
            event: None,
            returned: None,
            error: None,
        }
    }
}

/// An attempt that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SagaLog {
    /// Its place in the log of its saga, from 1 on.
    pub number: u32,
    /// The step.
    pub step: String,
    /// Whether it was its compensation.
    pub is_undo: bool,
    /// Which attempt.
    pub attempt: u32,
    /// When it began.
    pub began_at: SystemTime,
    /// When it ended.
    pub ended_at: SystemTime,
    /// What it came to, in a word: where the step stood then.
    pub progress: SagaProgress,
    /// Why it failed.
    pub error: Option<String>,
}

/// Who holds a saga after a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SagaRest {
    /// Who held it before; the lease is as it was.
    Held,
    /// Nobody, until then.
    Until(SystemTime),
    /// Nobody: it has ended, or is stuck.
    Nobody,
}

/// What has become of a saga. Whoever holds it stores it, as a whole or not at all.
#[derive(Debug, Clone)]
pub struct SagaChange {
    /// The hold on it.
    pub claim: SagaClaim,
    /// What it is doing now.
    pub phase: SagaPhase,
    /// Why it is stuck.
    pub why: String,
    /// The version that it goes on as, where that is another.
    pub version: Option<u32>,
    /// Its context, where that has changed.
    pub context: Option<Vec<u8>>,
    /// Whether somebody wants it back, and it has heard of that.
    pub is_cancelled: bool,
    /// What it was asked, and has heard of: that is not asked any more.
    pub heard: Option<SagaAsked>,
    /// How often in a row its owner was lost.
    pub cuts: u32,
    /// The last error.
    pub error: Option<String>,
    /// The steps that have changed.
    pub steps: Vec<SagaStep>,
    /// The attempts that have ended.
    pub log: Vec<SagaLog>,
    /// When, by the app's clock.
    pub at: SystemTime,
    /// Who holds it from now on.
    pub rest: SagaRest,
}

impl SagaChange {
    /// A change to a phase and nothing besides: no step, no attempt, no error. Context and version stay.
    pub fn new(claim: SagaClaim, phase: SagaPhase, at: SystemTime, rest: SagaRest) -> Self {
        Self {
            claim,
            phase,
            why: String::new(),
            version: None,
            context: None,
            is_cancelled: false,
            heard: None,
            cuts: 0,
            error: None,
            steps: Vec::new(),
            log: Vec::new(),
            at,
            rest,
        }
    }
}

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SagaSaved {
    /// It is stored; and what somebody asks meanwhile.
    Stored(Option<SagaAsked>),
    /// Somebody else holds the saga by now: nothing was stored.
    Lost,
}

/// A saga that was claimed.
#[derive(Debug, Clone)]
pub struct ClaimedSaga {
    /// The hold on it.
    pub claim: SagaClaim,
    /// As it is stored.
    pub row: SagaRow,
    /// Its steps, in no order.
    pub steps: Vec<SagaStep>,
    /// Whether it was taken from an owner whose lease had run out.
    pub was_held: bool,
    /// Of what its steps wait for now, the events that came first, where a store looks for those of all sagas that it hands out at once. It may
    /// leave any of them out: what is not here is asked for by [`Sagas::awaited`](super::Sagas::awaited).
    pub events: Vec<AwaitedEvent>,
}

/// An event that came for a saga.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwaitedEvent {
    /// The id of the event.
    pub id: Uuid,
    /// For which saga, which event, by which key.
    pub wait: SagaWait,
    /// Its stored version.
    pub version: u32,
    /// Its payload, as JSON.
    pub payload: Vec<u8>,
    /// What came with it.
    pub headers: BTreeMap<String, String>,
    /// When it came.
    pub at: SystemTime,
}

/// Which sagas are looked for. What is not said does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SagaFilter {
    /// The stored name of their definition.
    pub name: Option<String>,
    /// What they are doing.
    pub phase: Option<SagaPhase>,
    /// Started before.
    pub started_before: Option<SystemTime>,
    /// Of those started at that very time, behind this id: the place in a list.
    pub after_id: Option<String>,
}

/// How many sagas that have not ended use a version, or a step of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SagaUse {
    /// The stored name of the definition.
    pub name: String,
    /// Its version.
    pub version: u32,
    /// What they are doing.
    pub phase: SagaPhase,
    /// A step that has begun; `None` for the sagas themselves.
    pub step: Option<String>,
    /// How many.
    pub count: u64,
}

/// Which sagas are meant, by their stored names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SagaNames {
    /// Those of any other name.
    AllBut(Vec<String>),
    /// Those of these names.
    Only(Vec<String>),
}

impl SagaNames {
    /// Every saga.
    pub const ALL: Self = Self::AllBut(Vec::new());

    /// The names that are listed, and whether they are those that are meant.
    #[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
    pub(in crate::store) fn listed(self) -> (Vec<String>, bool) {
        match self {
            Self::AllBut(names) => (names, false),
            Self::Only(names) => (names, true),
        }
    }

    /// Whether a saga of this name is meant.
    pub fn has(&self, name: &str) -> bool {
        match self {
            Self::AllBut(names) => names.iter().all(|other| other != name),
            Self::Only(names) => names.iter().any(|own| own == name),
        }
    }
}
