//! What becomes of a call that failed: one table of statuses, and one place that logs what a client is not told.

use std::error::Error;
use std::time::Duration;

use ::axum::http::StatusCode;

use super::known::{find, find_boxed};
use super::{ProblemDetails, idempotency};
use crate::error::chain;
use crate::message::Handled;
use crate::middleware::Fault;
#[cfg(feature = "tower")]
use crate::tower::Temporary;
use crate::{DispatchError, DispatchErrorKind};

/// When to try again what may succeed by itself, in seconds.
const SOON: u64 = 1;

/// What a client is told of a call that failed. What it is not told is logged under the name that the problem carries.
pub(super) fn told<M: Handled>(error: &DispatchError<M::Error>) -> ProblemDetails {
    told_after::<M>(error, false)
}

/// The same of a stream, of which something may have been delivered: that stays.
pub(super) fn told_after<M: Handled>(error: &DispatchError<M::Error>, has_delivered: bool) -> ProblemDetails {
    let said = said::<M>(error);
    let rejected = said.is_none() && error.kind() == DispatchErrorKind::Rejected;
    let problem = said.unwrap_or_else(|| of_kind::<M>(error, has_delivered));
    let status = problem.status();
    if !status.is_server_error() && !rejected {
        return problem;
    }
    let problem = problem.named();
    let (name, text) = (M::SPEC.name, chain(error));
    if status == StatusCode::INTERNAL_SERVER_ERROR {
        tracing::error!(instance = problem.name(), name, details = ?error, "a request failed: {text}");
    } else {
        tracing::warn!(instance = problem.name(), %status, name, "a request was not served: {text}");
    }
    problem
}

/// What the user's own error says, whoever failed with it.
fn said<M: Handled>(error: &DispatchError<M::Error>) -> Option<ProblemDetails> {
    match error {
        DispatchError::Handler(error) => match M::PROBLEM {
            Some(ask) => ask(error),
            None => find_boxed(error),
        },
        DispatchError::Rejected { source, .. }
        | DispatchError::Dependency { source, .. }
        | DispatchError::EventFailed { source, .. } => find(source.as_ref()),
        DispatchError::FallbackFailed { source, .. } => said::<M>(source),
        _ => None,
    }
}

/// The table: what is told of everything else.
fn of_kind<M: Handled>(error: &DispatchError<M::Error>, has_delivered: bool) -> ProblemDetails {
    use DispatchErrorKind as Kind;
    match error.kind() {
        Kind::Timeout => late(),
        Kind::BreakerOpen => ProblemDetails::new(StatusCode::SERVICE_UNAVAILABLE)
            .detail("what this depends on has failed too often lately")
            .retry_after(error.retry_after().map_or(SOON, seconds)),
        Kind::ShuttingDown => not_now("the service is shutting down"),
        Kind::Store if error.is_retryable() => not_now(if has_delivered {
            "the store is busy or out of reach; what was delivered before stays"
        } else {
            "the store is busy or out of reach; nothing was stored"
        }),
        Kind::Rejected => turned_down(rejection(error)),
        Kind::InvalidKey => idempotency::refused("it is empty, longer than 255 bytes, or has control characters"),
        Kind::KeyReused => ProblemDetails::new(StatusCode::UNPROCESSABLE_ENTITY)
            .detail("the idempotency key was used with another request"),
        Kind::InProgress => ProblemDetails::new(StatusCode::CONFLICT)
            .detail("a request with this idempotency key is being served")
            .retry_after(SOON),
        Kind::TooLarge if too_large(error) == Some(M::SPEC.name) => {
            ProblemDetails::new(StatusCode::PAYLOAD_TOO_LARGE).detail("what is to be stored of it is too large")
        }
        Kind::CommitUnknown => ProblemDetails::new(StatusCode::INTERNAL_SERVER_ERROR)
            .detail("it is not known whether the request has taken effect"),
        Kind::Handler
        | Kind::NoHandler
        | Kind::ChainExhausted
        | Kind::Panicked
        | Kind::Dependency
        | Kind::WouldDeadlock
        | Kind::NoStore
        | Kind::Store
        | Kind::UncommittedItem
        | Kind::EventFailed
        | Kind::EventDepth
        | Kind::AmbiguousName
        | Kind::TooLarge => ProblemDetails::new(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

/// What is told of what may succeed soon.
pub(super) fn not_now(detail: &'static str) -> ProblemDetails {
    ProblemDetails::new(StatusCode::SERVICE_UNAVAILABLE).detail(detail).retry_after(SOON)
}

/// What is too large, where something is: the request itself, or what the server made of it.
fn too_large<E>(error: &DispatchError<E>) -> Option<&'static str> {
    match error {
        DispatchError::TooLarge { message, .. } => Some(message),
        DispatchError::FallbackFailed { source, .. } => too_large(source),
        _ => None,
    }
}

/// Why a call was turned down, where it was.
fn rejection<E>(error: &DispatchError<E>) -> Option<&(dyn Error + 'static)> {
    match error {
        DispatchError::Rejected { source, .. } => Some(source.as_ref()),
        DispatchError::FallbackFailed { source, .. } => rejection(source),
        _ => None,
    }
}

/// What is told of a call that a middleware turned down, or a layer, or that the program's own fault is in the way of.
fn turned_down(reason: Option<&(dyn Error + 'static)>) -> ProblemDetails {
    if reason.is_some_and(Fault::is) {
        return ProblemDetails::new(StatusCode::INTERNAL_SERVER_ERROR);
    }
    #[cfg(feature = "tower")]
    match reason.and_then(Temporary::of) {
        Some(Temporary::Overload) => {
            return not_now("there is too much to do just now");
        }
        Some(Temporary::Timeout) => return late(),
        None => {}
    }
    ProblemDetails::new(StatusCode::FORBIDDEN).detail("the request was turned down")
}

fn late() -> ProblemDetails {
    ProblemDetails::new(StatusCode::GATEWAY_TIMEOUT).detail("it took too long, and was given up")
}

/// An answer that cannot be written as JSON.
pub(super) fn unwritable<M: Handled>(error: &serde_json::Error) -> ProblemDetails {
    let problem = ProblemDetails::new(StatusCode::INTERNAL_SERVER_ERROR).named();
    tracing::error!(instance = problem.name(), name = M::SPEC.name, "an answer cannot be written as JSON: {error}");
    problem
}

/// Whole seconds, at least one: what the header `Retry-After` counts in.
fn seconds(after: Duration) -> u64 {
    (after.as_secs() + u64::from(after.subsec_nanos() > 0)).max(SOON)
}

#[cfg(test)]
mod tests;
