//! One saga: as the machine sees it, and as it is stored. Pure: time and chance are arguments.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use uuid::Uuid;

use super::machine::{Effect, Ended, Illegal, Input, Phase, Progress, State, Stuck};
use super::plan::{PlannedSaga, PlannedStep};
use super::step::StepEnd;
use crate::dispatch::caught;
use crate::store::{
    SagaAsked, SagaChange, SagaClaim, SagaLog, SagaPhase, SagaProgress, SagaRest, SagaRow, SagaStep, SagaWait,
};

/// How long a saga waits for its event before somebody looks though nobody was told: should that ever have been missed.
const UNTOLD: Duration = Duration::from_hours(24);

/// What is known of a step beside its progress.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) due_at: Option<SystemTime>,
    pub(crate) wait: Option<SagaWait>,
    pub(crate) event: Option<Uuid>,
    /// What it returned: its change, as long as that is not part of the context, since its group has not ended; or its error.
    pub(crate) returned: Option<Vec<u8>>,
    error: Option<String>,
}

/// A saga.
#[derive(Debug, Clone)]
pub(crate) struct Instance {
    pub(crate) plan: Arc<PlannedSaga>,
    pub(crate) state: State,
    pub(crate) context: Arc<[u8]>,
    pub(crate) marks: Vec<Mark>,
    pub(crate) error: Option<String>,
    logged: u32,
}

/// What somebody knows of what happened.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// When the attempt that has ended began.
    pub(crate) began_at: Option<SystemTime>,
    pub(crate) error: Option<String>,
    pub(crate) end: StepEnd,
    /// The event that came.
    pub(crate) event: Option<Uuid>,
    /// What was asked, and is heard by this: with the end of a call, that the saga is to be cancelled.
    pub(crate) heard: Option<SagaAsked>,
}

/// What follows, not stored yet.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) next: Instance,
    pub(crate) effects: Vec<Effect>,
    steps: Vec<SagaStep>,
    log: Vec<SagaLog>,
    heard: Option<SagaAsked>,
    has_context: bool,
    /// Whether a call ended well, and what it wrote is kept: though it may be undone next, where another member of its group failed.
    pub(crate) has_happened: bool,
}

/// Why a saga cannot be gone on with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unknown {
    /// A step that its definition does not have.
    #[error("the saga `{saga}`, version {version}, has no step `{step}` in this program")]
    Step {
        /// The saga.
        saga: &'static str,
        /// Its version.
        version: u32,
        /// The step.
        step: String,
    },
}

impl Instance {
    /// A saga that has not begun.
    pub(crate) fn begin(plan: Arc<PlannedSaga>, context: Arc<[u8]>) -> Self {
        let (state, marks) = (plan.shape.begin(), vec![Mark::default(); plan.steps.len()]);
        Self { plan, state, context, marks, error: None, logged: 0 }
    }

    /// A saga as it is stored.
    pub(crate) fn stored(plan: Arc<PlannedSaga>, row: &SagaRow, steps: Vec<SagaStep>) -> Result<Self, Unknown> {
        let mut saga = Self::begin(plan, row.context.as_slice().into());
        saga.state.phase = phase_of(row);
        (saga.state.is_cancelled, saga.state.cuts) = (row.is_cancelled, row.cuts);
        (saga.error, saga.logged) = (row.error.clone(), row.logged);
        for step in steps {
            let Some(at) = saga.plan.step(&step.step) else {
                let (saga, version) = (saga.plan.name(), saga.plan.version());
                return Err(Unknown::Step { saga, version, step: step.step });
            };
            saga.state.steps[at] = progress_of(&step);
            let SagaStep { due_at, wait, event, returned, error, .. } = step;
            saga.marks[at] = Mark { due_at, wait, event, returned, error };
        }
        Ok(saga)
    }

    /// What follows.
    pub(crate) fn turn(&self, input: Input, told: Told, now: SystemTime, random: f64) -> Result<Turn, Illegal> {
        let (input, told, is_applied) = self.applied(input, told);
        let is_cancelled = matches!((input, told.heard), (Input::Ended(..), Some(SagaAsked::Cancel)));
        let cancelled = if is_cancelled { self.plan.shape.next(&self.state, Input::Cancel).ok() } else { None };
        // The step that has ended runs: nothing else begins by that.
        let before = cancelled.as_ref().map_or(&self.state, |(state, _)| state);
        let (state, effects) = self.plan.shape.next(before, input)?;
        let Self { plan, context, marks, error, logged, .. } = self;
        let mut next = Self {
            plan: Arc::clone(plan),
            state,
            context: told.end.context.unwrap_or_else(|| Arc::clone(context)),
            marks: marks.clone(),
            error: told.error.clone().or_else(|| error.clone()),
            logged: *logged,
        };
        let mut log = Vec::new();
        match input {
            Input::Ended(step, _) => {
                if is_applied {
                    self.plan.shape.beside(step).for_each(|member| next.marks[member].returned = None);
                }
                let mark = &mut next.marks[step];
                // What its compensation fails with is logged; why the step failed is asked for at the end.
                if !matches!(self.state.steps[step], Progress::Undoing { .. }) {
                    mark.error.clone_from(&told.error);
                    mark.returned = told.end.returned;
                }
                log.extend(told.began_at.map(|began_at| self.entry(&next, step, began_at, now, told.error.clone())));
            }
            Input::Late(step) => {
                let mark = &mut next.marks[step];
                mark.error.clone_from(&told.error);
                mark.returned = None;
            }
            Input::Came(step) => next.marks[step].event = told.event,
            _ => {}
        }
        next.logged += u32::try_from(log.len()).unwrap_or(u32::MAX);
        next.set_times(&self.state, &effects, now, random);
        let has_context = next.context != self.context;
        let steps = next.changed(self);
        let has_happened = matches!(input, Input::Ended(_, Ended::Well));
        Ok(Turn { next, effects, steps, log, heard: told.heard, has_context, has_happened })
    }

    /// Whether that can happen to it as it is.
    pub(crate) fn takes(&self, input: Input) -> bool {
        self.plan.shape.next(&self.state, input).is_ok()
    }

    /// Where the last member of a group ends well, what its members returned becomes part of the context; where that fails, so has the
    /// member, which has happened for all that.
    fn applied(&self, input: Input, mut told: Told) -> (Input, Told, bool) {
        let Input::Ended(step, Ended::Well) = input else { return (input, told, false) };
        let members = self.plan.shape.beside(step);
        let is_last = members.clone().all(|member| member == step || self.state.steps[member] == Progress::Done);
        if self.state.phase != Phase::Forward || self.plan.steps[step].item.apply.is_none() || !is_last {
            return (input, told, false);
        }
        let mut context: Arc<[u8]> = Arc::clone(&self.context);
        for member in members {
            let own = if member == step { told.end.returned.as_ref() } else { self.marks[member].returned.as_ref() };
            let (Some(apply), Some(patch)) = (self.plan.steps[member].item.apply, own) else { continue };
            match caught(|| (apply.0)(&context, patch)) {
                Ok(Ok(changed)) => context = changed.into(),
                Ok(Err(error)) => return failed(step, told, &error.to_string()),
                Err(panic) => return failed(step, told, &format!("applying what it returned panicked: {panic}")),
            }
        }
        (told.error, told.end.context, told.end.returned) = (None, Some(context), None);
        (input, told, true)
    }

    fn entry(
        &self,
        next: &Self,
        step: usize,
        began_at: SystemTime,
        ended_at: SystemTime,
        error: Option<String>,
    ) -> SagaLog {
        let (is_undo, attempt) = match self.state.steps[step] {
            Progress::Undoing { attempt } => (true, attempt),
            Progress::Running { attempt, .. } => (false, attempt),
            _ => (false, 0),
        };
        SagaLog {
            number: self.logged + 1,
            step: self.plan.steps[step].name.to_owned(),
            is_undo,
            attempt,
            began_at,
            ended_at,
            progress: stored_progress(next.state.steps[step]).unwrap_or(SagaProgress::Running),
            error,
        }
    }

    /// Says when pauses and waits that begin are over.
    fn set_times(&mut self, before: &State, effects: &[Effect], now: SystemTime, random: f64) {
        for at in 0..self.marks.len() {
            if before.steps[at] != self.state.steps[at] {
                self.marks[at].due_at = None;
            }
        }
        for effect in effects {
            let (step, due_at) = match *effect {
                Effect::Pause { step, attempt } => {
                    (step, Some(now + self.plan.steps[step].retry.pause(attempt - 1, random)))
                }
                Effect::UndoPause { step, attempt } => {
                    (step, Some(now + self.plan.steps[step].undo_retry.pause(attempt - 1, random)))
                }
                Effect::Await { step } => (step, self.plan.steps[step].patience().map(|patience| now + patience)),
                Effect::Run { .. } | Effect::Undo { .. } => continue,
            };
            let wait = self.wait_of(step);
            let mark = &mut self.marks[step];
            // What was waiting before goes on waiting.
            if mark.due_at.is_none() {
                mark.due_at = due_at;
            }
            if matches!(effect, Effect::Await { .. }) {
                mark.wait = mark.wait.take().or(wait);
            }
        }
    }

    /// What a step waits for, by what its context says now.
    fn wait_of(&self, step: usize) -> Option<SagaWait> {
        let awaits = self.plan.steps[step].awaits()?;
        let decode = self.plan.item.context.codec.decode?;
        let context = caught(|| (decode.0)(&self.context)).ok()?.ok()?;
        let field = caught(|| (awaits.of_context)(&*context)).ok()??;
        Some(SagaWait { saga: self.plan.name().to_owned(), event: awaits.event.name.to_owned(), key: digest(&field) })
    }

    /// The steps that are not what they were.
    fn changed(&self, before: &Self) -> Vec<SagaStep> {
        let is_changed =
            |at: &usize| self.state.steps[*at] != before.state.steps[*at] || self.marks[*at] != before.marks[*at];
        (0..self.marks.len()).filter(is_changed).filter_map(|at| self.step(at)).collect()
    }

    fn step(&self, at: usize) -> Option<SagaStep> {
        let progress = stored_progress(self.state.steps[at])?;
        let (attempt, in_doubt) = match self.state.steps[at] {
            Progress::Running { attempt, in_doubt } | Progress::Pausing { attempt, in_doubt } => (attempt, in_doubt),
            Progress::Undoing { attempt } | Progress::UndoPausing { attempt } => (attempt, false),
            Progress::Failed { in_doubt } => (0, in_doubt),
            _ => (0, false),
        };
        let Mark { due_at, wait, event, returned, error } = self.marks[at].clone();
        let step = self.plan.steps[at].name.to_owned();
        Some(SagaStep { step, progress, attempt, in_doubt, due_at, wait, event, returned, error })
    }

    /// The same as it is, but for who holds it.
    pub(crate) fn unchanged(&self, claim: &SagaClaim, at: SystemTime, rest: SagaRest) -> SagaChange {
        let (effects, steps, log) = (Vec::new(), Vec::new(), Vec::new());
        let mut turn =
            Turn { next: self.clone(), effects, steps, log, heard: None, has_context: false, has_happened: false };
        turn.change(claim, at, rest)
    }

    /// The same, of a saga that has become one of its version.
    pub(crate) fn moved(&self, claim: &SagaClaim, at: SystemTime) -> SagaChange {
        let (version, context) = (Some(self.plan.version()), Some(self.context.to_vec()));
        SagaChange { version, context, ..self.unchanged(claim, at, SagaRest::Held) }
    }

    /// Every step that has begun.
    pub(crate) fn steps(&self) -> Vec<SagaStep> {
        (0..self.marks.len()).filter_map(|at| self.step(at)).collect()
    }

    /// When the first pause or wait is over.
    pub(crate) fn next_due(&self) -> Option<SystemTime> {
        self.waiting().filter_map(|at| self.marks[at].due_at).min()
    }

    /// The steps that pause or wait.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = usize> + '_ {
        let is_waiting = |progress: &Progress| {
            matches!(progress, Progress::Awaiting | Progress::Pausing { .. } | Progress::UndoPausing { .. })
        };
        (0..self.marks.len()).filter(move |at| is_waiting(&self.state.steps[*at]))
    }

    /// Whether a step is under way.
    pub(crate) fn is_busy(&self) -> bool {
        self.state.steps.iter().any(|progress| matches!(progress, Progress::Running { .. } | Progress::Undoing { .. }))
    }

    pub(crate) fn planned(&self, step: usize) -> &PlannedStep {
        &self.plan.steps[step]
    }

    /// Who holds it from now on, where a pause that is over soon is waited for.
    pub(crate) fn rest(&self, now: SystemTime, soon: Duration) -> SagaRest {
        if self.is_busy() {
            return SagaRest::Held;
        }
        match self.state.phase {
            Phase::New | Phase::Forward | Phase::Compensating => match self.next_due() {
                Some(due) if due <= now + soon => SagaRest::Held,
                Some(due) => SagaRest::Until(due),
                // Its event comes, or nothing does.
                None => SagaRest::Until(now + UNTOLD),
            },
            Phase::Completed | Phase::Compensated | Phase::Stuck(_) => SagaRest::Nobody,
        }
    }
}

fn failed(step: usize, mut told: Told, error: &str) -> (Input, Told, bool) {
    (told.error, told.end.returned) = (Some(error.to_owned()), None);
    (Input::Ended(step, Ended::Broke), told, false)
}

impl Turn {
    /// The same where this process is about to stop: what was to begin has paused, and begins wherever somebody takes the saga up.
    pub(crate) fn put_off(mut self, before: &Instance, now: SystemTime) -> Self {
        for effect in std::mem::take(&mut self.effects) {
            let (step, progress) = match (effect, effect.step()) {
                (Effect::Run { attempt, .. }, step) => {
                    let in_doubt = matches!(self.next.state.steps[step], Progress::Running { in_doubt: true, .. });
                    (step, Progress::Pausing { attempt, in_doubt })
                }
                (Effect::Undo { attempt, .. }, step) => (step, Progress::UndoPausing { attempt }),
                // They are stored, and found when they are due.
                _ => continue,
            };
            self.next.state.steps[step] = progress;
            self.next.marks[step].due_at = Some(now);
        }
        self.steps = self.next.changed(before);
        self
    }

    /// What is to be stored, taken out of it.
    pub(crate) fn change(&mut self, claim: &SagaClaim, at: SystemTime, rest: SagaRest) -> SagaChange {
        let next = &self.next;
        let (phase, why) = stored_phase(next.state.phase);
        SagaChange {
            claim: claim.clone(),
            phase,
            why: why.to_owned(),
            version: None,
            context: self.has_context.then(|| next.context.to_vec()),
            is_cancelled: next.state.is_cancelled,
            heard: self.heard,
            cuts: next.state.cuts,
            error: next.error.clone(),
            steps: std::mem::take(&mut self.steps),
            log: std::mem::take(&mut self.log),
            at,
            rest,
        }
    }
}

/// The digest by which a saga and its event find each other.
pub(crate) fn digest(field: &[u8]) -> String {
    crate::consumer::hex(field)
}

fn phase_of(row: &SagaRow) -> Phase {
    match row.phase {
        SagaPhase::Forward => Phase::Forward,
        SagaPhase::Compensating => Phase::Compensating,
        SagaPhase::Completed => Phase::Completed,
        SagaPhase::Compensated => Phase::Compensated,
        SagaPhase::Stuck => Phase::Stuck(match row.why.as_str() {
            "forward" => Stuck::Forward,
            "undoing" => Stuck::Undoing,
            _ => Stuck::Lost,
        }),
    }
}

pub(crate) fn stored_phase(phase: Phase) -> (SagaPhase, &'static str) {
    match phase {
        Phase::New | Phase::Forward => (SagaPhase::Forward, ""),
        Phase::Compensating => (SagaPhase::Compensating, ""),
        Phase::Completed => (SagaPhase::Completed, ""),
        Phase::Compensated => (SagaPhase::Compensated, ""),
        Phase::Stuck(Stuck::Forward) => (SagaPhase::Stuck, "forward"),
        Phase::Stuck(Stuck::Undoing) => (SagaPhase::Stuck, "undoing"),
        Phase::Stuck(Stuck::Lost) => (SagaPhase::Stuck, "lost"),
    }
}

fn progress_of(step: &SagaStep) -> Progress {
    let (attempt, in_doubt) = (step.attempt, step.in_doubt);
    match step.progress {
        SagaProgress::Awaiting => Progress::Awaiting,
        SagaProgress::Running => Progress::Running { attempt, in_doubt },
        SagaProgress::Pausing => Progress::Pausing { attempt, in_doubt },
        SagaProgress::Done => Progress::Done,
        SagaProgress::Failed => Progress::Failed { in_doubt },
        SagaProgress::Undoing => Progress::Undoing { attempt },
        SagaProgress::UndoPausing => Progress::UndoPausing { attempt },
        SagaProgress::Undone => Progress::Undone,
        SagaProgress::Kept => Progress::Kept,
    }
}

/// A step's progress as it is stored; a step that has not begun is not.
fn stored_progress(progress: Progress) -> Option<SagaProgress> {
    Some(match progress {
        Progress::Open => return None,
        Progress::Awaiting => SagaProgress::Awaiting,
        Progress::Running { .. } => SagaProgress::Running,
        Progress::Pausing { .. } => SagaProgress::Pausing,
        Progress::Done => SagaProgress::Done,
        Progress::Failed { .. } => SagaProgress::Failed,
        Progress::Undoing { .. } => SagaProgress::Undoing,
        Progress::UndoPausing { .. } => SagaProgress::UndoPausing,
        Progress::Undone => SagaProgress::Undone,
        Progress::Kept => SagaProgress::Kept,
    })
}
