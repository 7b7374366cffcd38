//! How a call ended, as a middleware sees it.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::BoxError;

/// How a call ended, as a middleware sees it. The typed result stays with the caller.
#[must_use = "a middleware returns the outcome of the call"]
pub struct Outcome {
    state: State,
    elapsed: Duration,
}

enum State {
    Done,
    Failed(BoxError),
    Rejected(BoxError),
}

/// Why a call with middleware has no answer.
pub(crate) enum Refusal {
    /// The call failed: its own error.
    Failed(BoxError),
    /// A middleware turned it down: the middleware's reason.
    Rejected(BoxError),
}

impl Outcome {
    pub(super) fn of(result: Result<(), BoxError>) -> Self {
        let state = match result {
            Ok(()) => State::Done,
            Err(error) => State::Failed(error),
        };
        Self { state, elapsed: Duration::ZERO }
    }

    pub(super) fn after(mut self, elapsed: Duration) -> Self {
        self.elapsed = elapsed;
        self
    }

    /// Rejects the call: the caller gets [`DispatchError::Rejected`](crate::DispatchError::Rejected) with this error.
    pub fn reject(error: impl Into<BoxError>) -> Self {
        Self { state: State::Rejected(error.into()), elapsed: Duration::ZERO }
    }

    /// Whether the call succeeded.
    pub fn is_ok(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// The error, if the call failed or was rejected.
    pub fn error(&self) -> Option<&(dyn Error + 'static)> {
        match &self.state {
            State::Done => None,
            State::Failed(error) | State::Rejected(error) => Some(error.as_ref()),
        }
    }

    /// How long the rest of the call took.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    pub(crate) fn into_result(self) -> Result<(), Refusal> {
        match self.state {
            State::Done => Ok(()),
            State::Failed(source) => Err(Refusal::Failed(source)),
            State::Rejected(source) => Err(Refusal::Rejected(source)),
        }
    }
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Done => "ok".to_owned(),
            State::Failed(error) => format!("failed: {error}"),
            State::Rejected(error) => format!("rejected: {error}"),
        };
        f.debug_struct("Outcome").field("state", &state).field("elapsed", &self.elapsed).finish()
    }
}
