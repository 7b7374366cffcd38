//! Stored words, as every store reads them.

use super::{SagaAsked, SagaPhase, SagaProgress};
use crate::BoxError;

pub(in crate::store) fn phase_of(word: &str) -> Result<SagaPhase, BoxError> {
    SagaPhase::parse(word).ok_or_else(|| format!("no phase of a saga is called `{word}`").into())
}

pub(in crate::store) fn asked_of(word: &str) -> Result<SagaAsked, BoxError> {
    SagaAsked::parse(word).ok_or_else(|| format!("nothing that is asked of a saga is called `{word}`").into())
}

pub(in crate::store) fn progress_of(word: &str) -> Result<SagaProgress, BoxError> {
    SagaProgress::parse(word).ok_or_else(|| format!("no progress of a step is called `{word}`").into())
}
