//! A saga that goes on as a later version of itself. Pure.

use std::sync::Arc;

use super::instance::{Instance, Unknown};
use super::machine::{Phase, Progress, Stuck};
use super::plan::PlannedSaga;
use crate::dispatch::caught;
use crate::message::CodecError;
use crate::store::{SagaRow, SagaStep};

/// Why a saga cannot go on as a later version of itself, yet or at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unmoved {
    #[error(transparent)]
    Unknown(#[from] Unknown),
    /// A step that the later version has put before one that has begun.
    #[error("version {version} has the step `{step}` before one that has begun")]
    Overtaken { version: u32, step: &'static str },
    /// Members of a group that are in one no more.
    #[error("the step `{step}` stands beside others that have not ended, which version {version} does not let it")]
    Parted { version: u32, step: &'static str },
    /// A step that waits, and has waited for something else.
    #[error("the step `{step}` does not wait for the same in version {version}")]
    Awaits { version: u32, step: &'static str },
    /// What is undone cannot be undone any more.
    #[error("version {version} has its pivot, `{step}`, among the steps that are being undone")]
    Pivot { version: u32, step: &'static str },
    #[error(transparent)]
    Context(#[from] CodecError),
    #[error("making its context version {version}'s panicked: {panic}")]
    Panicked { version: u32, panic: String },
}

/// A stored saga as a later version of itself, which reads its context: where every step that has begun is in that version, in the same
/// order, and none that is new comes before them.
pub(crate) fn moved(plan: &Arc<PlannedSaga>, row: &SagaRow, steps: &[SagaStep]) -> Result<Instance, Unmoved> {
    let mut saga = Instance::stored(Arc::clone(plan), row, steps.to_vec())?;
    fits(&saga)?;
    saga.context = context(plan, row)?.into();
    Ok(saga)
}

fn fits(saga: &Instance) -> Result<(), Unmoved> {
    let (plan, states) = (&saga.plan, &saga.state.steps);
    let (version, name) = (plan.version(), |at: usize| plan.steps[at].name);
    let Some(last) = states.iter().rposition(|progress| *progress != Progress::Open) else { return Ok(()) };
    let place = plan.shape.beside(last);
    if let Some(step) = (0..place.end).find(|at| states[*at] == Progress::Open) {
        return Err(Unmoved::Overtaken { version, step: name(step) });
    }
    let is_forward = matches!(saga.state.phase, Phase::Forward | Phase::Stuck(Stuck::Forward | Stuck::Lost));
    if is_forward {
        // A change that is stored is part of the context only when all members of its group have ended.
        let is_kept = |at: usize| states[at] == Progress::Done && saga.marks[at].returned.is_some();
        let is_unapplied = |at: &usize| is_kept(*at) && (place.len() == 1 || !place.contains(at));
        let is_unended = |at: &usize| states[*at] != Progress::Done && !place.contains(at);
        let is_parted = |at: &usize| is_unapplied(at) || is_unended(at);
        if let Some(step) = (0..=last).find(is_parted) {
            return Err(Unmoved::Parted { version, step: name(step) });
        }
        let awaits = |at: usize| plan.steps[at].awaits().map(|awaits| awaits.event.name);
        let has_waited = |at: usize| saga.marks[at].wait.as_ref().map(|wait| wait.event.as_str());
        if let Some(step) = (0..=last).find(|at| states[*at] != Progress::Done && awaits(*at) != has_waited(*at)) {
            return Err(Unmoved::Awaits { version, step: name(step) });
        }
        return Ok(());
    }
    match (0..=last).find(|at| plan.shape.steps[*at].is_pivot && states[*at] != Progress::Failed { in_doubt: false }) {
        Some(step) => Err(Unmoved::Pivot { version, step: name(step) }),
        None => Ok(()),
    }
}

fn context(plan: &PlannedSaga, row: &SagaRow) -> Result<Vec<u8>, Unmoved> {
    let (spec, version) = (plan.item.context, plan.version());
    let converted = caught(|| {
        let value = spec.read(row.version, &|spec| spec.codec.decoder(spec.name, false), &row.context)?;
        let encode = spec.codec.encode.ok_or(CodecError::WrongType { message: spec.name })?;
        (encode.0)(&*value)
    });
    converted.map_err(|panic| Unmoved::Panicked { version, panic })?.map_err(Unmoved::Context)
}
