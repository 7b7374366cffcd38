//! Finds what a client is told of an error whose type is not known: one that was derived, or the document itself.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::marker::PhantomData;

use ::axum::http::StatusCode;

use super::{Problem, ProblemDetails};
use crate::BoxError;

/// Asks an error of a known type.
pub type AskFn<E> = fn(&E) -> Option<ProblemDetails>;

/// Tells whether an error is of a type, and if so, what a client is told of it.
type RecogniseFn = fn(&(dyn Error + 'static)) -> Option<Option<ProblemDetails>>;

/// One error type with `#[derive(Problem)]`.
#[derive(Clone, Copy)]
pub struct ProblemItem(Option<RecogniseFn>);

impl ProblemItem {
    /// What [`ProblemProbe`] found about the type.
    #[must_use]
    pub const fn new(recognise: Option<RecogniseFn>) -> Self {
        Self(recognise)
    }
}

impl fmt::Debug for ProblemItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProblemItem")
    }
}

inventory::collect!(ProblemItem);

/// Asks in a constant what an error type can do: an inherent constant where the bound holds, the trait's where not.
#[derive(Debug)]
pub struct ProblemProbe<E>(PhantomData<E>);

/// The answers where `E` lacks the trait.
pub trait ProblemFallback<E> {
    /// No [`Problem`].
    const ASK: Option<AskFn<E>> = None;
    /// No [`Error`].
    const RECOGNISE: Option<RecogniseFn> = None;
}

impl<E> ProblemFallback<E> for ProblemProbe<E> {}

impl<E: Problem> ProblemProbe<E> {
    /// Asks `E`.
    pub const ASK: Option<AskFn<E>> = Some(E::problem);
}

impl<E: Problem + Error + 'static> ProblemProbe<E> {
    /// Recognises `E`.
    pub const RECOGNISE: Option<RecogniseFn> = Some(|error| error.downcast_ref::<E>().map(E::problem));
}

/// What `#[derive(Problem)]` says of an error: its text is the detail, but for a 500, which says nothing.
#[must_use]
pub fn derived<P: Problem>(
    error: &P,
    status: u16,
    title: Option<&'static str>,
    uri: Option<&'static str>,
) -> ProblemDetails {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut problem = ProblemDetails::new(status);
    if status != StatusCode::INTERNAL_SERVER_ERROR {
        problem = problem.detail(error.to_string());
    }
    if let Some(title) = title {
        problem = problem.title(title);
    }
    match uri {
        Some(uri) => problem.type_uri(uri),
        None => problem,
    }
}

/// What a client is told of an error of any type: looked at by itself, since what it wraps is its own business.
pub(super) fn find(error: &(dyn Error + 'static)) -> Option<ProblemDetails> {
    if let Some(problem) = error.downcast_ref::<ProblemDetails>() {
        return Some(problem.clone());
    }
    let items = inventory::iter::<ProblemItem>();
    items.filter_map(|item| item.0).find_map(|recognise| recognise(error)).flatten()
}

/// The same for a message's error, where that is [`BoxError`]: what it holds counts.
pub(super) fn find_boxed<E: 'static>(error: &E) -> Option<ProblemDetails> {
    (error as &dyn Any).downcast_ref::<BoxError>().and_then(|error| find(error.as_ref()))
}
