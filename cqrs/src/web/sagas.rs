//! What a client is told of a saga that did not end well, or was not begun.

use ::axum::http::StatusCode;

use super::failure::not_now;
use super::known::{ProblemItem, ProblemProbe};
use super::{Problem, ProblemDetails};
use crate::SagaError;

/// What a client can do something about, or wait for. Why a saga was compensated, or is stuck, is for the program to tell:
/// [`SagaError::step_error`] gives it the error of the step.
#[diagnostic::do_not_recommend]
impl Problem for SagaError {
    fn problem(&self) -> Option<ProblemDetails> {
        match self {
            Self::IdTaken { .. } => {
                Some(ProblemDetails::new(StatusCode::CONFLICT).detail("the id is that of another saga"))
            }
            Self::Missing { .. } => Some(ProblemDetails::new(StatusCode::NOT_FOUND).detail("there is no such saga")),
            Self::ShuttingDown { .. } => Some(not_now("the service is shutting down; what has begun goes on")),
            Self::Store(error) if error.is_retryable() => Some(not_now("the store is busy or out of reach")),
            Self::Compensated { .. }
            | Self::Stuck { .. }
            | Self::UnknownVersion { .. }
            | Self::Context { .. }
            | Self::NoStore
            | Self::Store(_) => None,
        }
    }
}

inventory::submit! { ProblemItem::new(ProblemProbe::<SagaError>::RECOGNISE) }
