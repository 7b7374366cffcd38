//! What a saga can fail with, and its id.

use std::error::Error;
use std::fmt;

use serde::de::DeserializeOwned;

use crate::BoxError;
use crate::store::StoreError;

/// The id of a saga: unique over all sagas of a store.
///
/// ```
/// use cqrs::SagaId;
///
/// assert_eq!(SagaId::from("checkout-42").as_str(), "checkout-42");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SagaId(String);

impl SagaId {
    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<T: Into<String>> From<T> for SagaId {
    fn from(id: T) -> Self {
        Self(id.into())
    }
}

impl AsRef<str> for SagaId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SagaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a saga ended with that was not completed, or why it was not started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SagaError {
    /// A step failed, and what was done before it is undone.
    #[error("the saga was compensated, since its step `{step}` failed")]
    Compensated {
        /// The step that failed; empty where somebody has cancelled the saga.
        step: String,
        /// Why.
        source: BoxError,
    },
    /// The saga cannot go on by itself: somebody has to look, mend and resume it.
    #[error("the saga is stuck: {reason}")]
    Stuck {
        /// The step behind the pivot that has failed, or the one that cannot be undone; empty where it is neither.
        step: String,
        /// What it cannot do.
        reason: &'static str,
        /// The last error of a step or of a compensation.
        source: BoxError,
    },
    /// The program does not have this version of the saga.
    #[error("this program has no version {version} of the saga `{saga}`")]
    UnknownVersion {
        /// The saga.
        saga: String,
        /// Its version.
        version: u32,
    },
    /// There is another saga of this id, or one that began with another context.
    #[error(
        "there is another saga of the id `{id}`; help: give each its own, or begin this one with what it began with"
    )]
    IdTaken {
        /// The id.
        id: SagaId,
    },
    /// The context could not be written, or read from what is stored.
    #[error("the context of the saga could not be stored")]
    Context {
        /// What could not be done.
        source: BoxError,
    },
    /// There is no saga of this id.
    #[error("there is no saga of the id `{id}`")]
    Missing {
        /// The id.
        id: SagaId,
    },
    /// The app stops. The saga is stored, and goes on where somebody takes it up.
    #[error("the app stops: the saga `{id}` goes on in another process, or when this one has started again")]
    ShuttingDown {
        /// The id.
        id: SagaId,
    },
    /// The app has no store, or one without sagas.
    #[error(
        "the app has no store that keeps sagas; help: give the builder one: `.store(Store::url(\"sqlite://app.db\"))`"
    )]
    NoStore,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SagaError {
    /// What the step failed with, read again as its own type: of a saga that was compensated, or is stuck behind its pivot.
    ///
    /// A saga outlives its process, so what its steps fail with is stored. Where the error type of a step is [`Serialize`](serde::Serialize)
    /// and an [`Error`], all of its fields are kept, as JSON of 64 KiB at most; of any other type, and of what is larger, the words, which are
    /// the `source`. A fallback that fails with the type of its step counts as that.
    ///
    /// `None` where only the words are there, since the step timed out or panicked for example, and where what is there cannot be read as `E`.
    /// Of two types with the same fields it cannot tell which it was: where steps fail with several types, look at `step` first.
    ///
    /// ```standalone_crate
    /// use cqrs::prelude::*;
    /// use cqrs::SagaError;
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[saga(name = "order", version = 1, steps = [reserve])]
    /// #[derive(Debug, Serialize, Deserialize)]
    /// struct Order { pieces: u32 }
    ///
    /// #[derive(Debug, PartialEq, thiserror::Error, Serialize, Deserialize)]
    /// #[error("only {left} are left")]
    /// struct OutOfStock { left: u32 }
    ///
    /// #[saga_step(compensate = none)]
    /// async fn reserve(order: &mut Order) -> Result<(), OutOfStock> {
    ///     if order.pieces > 3 { Err(OutOfStock { left: 3 }) } else { Ok(()) }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), cqrs::Error> {
    /// let app = cqrs::bootstrap!().store(Store::url("memory:")).await?;
    /// let refused = app.saga(Order { pieces: 5 }).await.unwrap_err();
    /// assert_eq!(refused.step_error(), Some(OutOfStock { left: 3 }));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn step_error<E: DeserializeOwned>(&self) -> Option<E> {
        let (Self::Compensated { source, .. } | Self::Stuck { source, .. }) = self else { return None };
        let returned = source.downcast_ref::<StepError>()?.returned.as_deref()?;
        serde_json::from_slice(returned).ok()
    }
}

/// What a step failed with, as it is stored.
pub(crate) struct StepError {
    pub(crate) words: String,
    /// The error as JSON, where it can be written.
    pub(crate) returned: Option<Vec<u8>>,
}

/// Its words alone: the rest may be what nobody wants in a log.
impl fmt::Debug for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StepError").field(&self.words).finish()
    }
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl Error for StepError {}
