//! How a saga ended, as whoever waits for it is told: from what is stored, or from the process that went on with it.

use std::sync::Arc;

use super::SagaError;
use super::error::StepError;
use super::instance::{Instance, stored_phase};
use super::step::{SagaContext, read_as};
use crate::store::{SagaPhase, SagaProgress, SagaRow, SagaStep};

/// How a saga ended, or that it is stuck.
#[derive(Debug)]
pub(crate) struct Outcome {
    phase: SagaPhase,
    why: String,
    version: u32,
    is_cancelled: bool,
    context: Arc<[u8]>,
    error: Option<String>,
    steps: Vec<SagaStep>,
}

impl Outcome {
    /// Of a saga as it is stored; `None` where it has not ended. Where somebody has asked a stuck one to go on, it has not heard of
    /// that yet.
    pub(crate) fn stored(row: SagaRow, steps: Vec<SagaStep>) -> Option<Self> {
        let has_ended = row.phase.is_end() || (row.phase == SagaPhase::Stuck && row.asked.is_none());
        let SagaRow { phase, why, version, is_cancelled, context, error, .. } = row;
        has_ended.then(|| Self { phase, why, version, is_cancelled, context: context.into(), error, steps })
    }

    /// Of a saga as the process knows it that went on with it.
    pub(crate) fn known(saga: &Instance) -> Option<Self> {
        let (phase, why) = stored_phase(saga.state.phase);
        let has_ended = phase.is_end() || phase == SagaPhase::Stuck;
        has_ended.then(|| Self {
            phase,
            why: why.to_owned(),
            version: saga.plan.version(),
            is_cancelled: saga.state.is_cancelled,
            context: Arc::clone(&saga.context),
            error: saga.error.clone(),
            steps: if phase == SagaPhase::Completed { Vec::new() } else { saga.steps() },
        })
    }

    pub(crate) fn phase(&self) -> SagaPhase {
        self.phase
    }

    /// The context of a completed saga.
    ///
    /// # Errors
    /// Why it is not completed, or cannot be read.
    pub(crate) fn context<C: SagaContext>(self) -> Result<C, SagaError> {
        match self.failed() {
            Some(error) => Err(error),
            None => read_as(self.version, &self.context),
        }
    }

    /// Why it is not completed.
    pub(crate) fn failed(&self) -> Option<SagaError> {
        match self.phase {
            SagaPhase::Compensated => Some(self.compensated()),
            SagaPhase::Stuck => Some(self.stuck()),
            _ => None,
        }
    }

    fn compensated(&self) -> SagaError {
        // One that was not to begin, or did not wait any more, since somebody has cancelled the saga, did not fail with anything.
        let is_failed = |step: &&SagaStep| match step.progress {
            SagaProgress::Failed => !self.is_cancelled || step.error.is_some(),
            progress => step.error.is_some() && progress != SagaProgress::Done,
        };
        let failed = self.steps.iter().find(is_failed);
        let known = |step: &SagaStep| (step.step.clone(), step.error.clone(), step.returned.clone());
        let (step, error, returned) = failed.map_or_else(Default::default, known);
        let words = error.or_else(|| self.error.clone()).unwrap_or_else(|| "somebody has cancelled it".to_owned());
        SagaError::Compensated { step, source: StepError { words, returned }.into() }
    }

    fn stuck(&self) -> SagaError {
        let progress = match self.why.as_str() {
            "forward" => Some(SagaProgress::Failed),
            "undoing" => Some(SagaProgress::Kept),
            _ => None,
        };
        let those = || self.steps.iter().filter(|step| Some(step.progress) == progress);
        // Of several it is the one that failed last. A compensation has no words but the saga's.
        let last = those().find(|step| step.error.is_some() && step.error == self.error).or_else(|| those().next());
        let own = last.filter(|step| step.progress == SagaProgress::Failed);
        let words = own.and_then(|step| step.error.clone()).or_else(|| self.error.clone()).unwrap_or_default();
        let returned = own.and_then(|step| step.returned.clone());
        SagaError::Stuck {
            step: last.map(|step| step.step.clone()).unwrap_or_default(),
            reason: stuck_for(&self.why),
            source: StepError { words, returned }.into(),
        }
    }
}

/// Why a saga is stuck, in more words than those that are stored.
pub(crate) fn stuck_for(why: &str) -> &'static str {
    match why {
        "forward" => "a step behind the pivot has used up its attempts",
        "undoing" => "a compensation has used up its attempts; the others were made",
        "lost" => "its owner was lost too many times in a row: what it does may be what ends the process",
        _ => "what is stored of it cannot be read",
    }
}
