//! One thing a handler left behind: an event, or a command to be stored.

use std::fmt;
use std::time::{Duration, SystemTime};

use uuid::Uuid;

use crate::message::{Erased, MessageSpec};

/// When a stored command is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// At once.
    Now,
    /// So long after the unit of work stores it.
    After(Duration),
    /// At this time.
    At(SystemTime),
}

/// A command that is stored with the unit of work.
#[derive(Clone)]
pub(crate) struct StoredCommand {
    pub(crate) spec: &'static MessageSpec,
    pub(crate) value: Erased,
    /// Its id, where somebody was told it already.
    pub(crate) id: Option<Uuid>,
    /// `None`: sent. `Some`: scheduled.
    pub(crate) timer: Option<When>,
    /// A timer's key: the same name and key again moves the timer.
    pub(crate) timer_key: Option<String>,
}

/// One thing a handler left behind.
#[derive(Clone)]
pub(crate) enum Raised {
    /// A domain or notification event.
    Event {
        /// What is known about its type.
        spec: &'static MessageSpec,
        /// The event.
        value: Erased,
    },
    /// A command to be stored.
    Command(StoredCommand),
}

impl fmt::Debug for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event { spec, .. } => write!(f, "Event({})", spec.name),
            Self::Command(command) => write!(f, "Command({})", command.spec.name),
        }
    }
}
