//! What can be seen of a breaker.

use std::fmt;
use std::time::Duration;

/// Where a breaker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BreakerPhase {
    /// Calls pass.
    Closed,
    /// Calls are refused.
    Open,
    /// One call is let in to see whether the handler is well again; the others are refused.
    HalfOpen,
}

impl BreakerPhase {
    /// The phase in a word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        }
    }
}

impl fmt::Display for BreakerPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a breaker stands, as `App::breakers` tells it.
///
/// Of a breaker that is shared by several processes it is what this process knows: it asks when it is called, not when it
/// is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BreakerState {
    /// Its name; of a handler's own breaker, the path of the handler.
    pub name: String,
    /// The paths of the handlers behind it.
    pub handlers: Vec<String>,
    /// Where it stands.
    pub phase: BreakerPhase,
    /// How many failures count now.
    pub failures: u32,
    /// How many open it.
    pub threshold: u32,
    /// Open: how long until a call is let in to see.
    pub trial_in: Option<Duration>,
}

/// What one breaker knows of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) phase: BreakerPhase,
    pub(super) failures: u32,
    pub(super) trial_in: Option<Duration>,
}
