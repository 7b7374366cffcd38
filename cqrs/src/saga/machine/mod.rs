//! What a saga does next: from its shape, its state and what happened, the state to be stored and what is to be done after that. Pure.
//!
//! What is to be done is done only once the state is stored. So a process that dies leaves behind either that nothing happened, or a step
//! that is under way: whoever recovers the saga says [`Input::Cut`], and it is done again.

/// What a saga is made of. Its steps stand in the order in which they are listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) steps: Vec<Step>,
    /// Places, each a step or several that run side by side: where each ends in the list of steps.
    pub(crate) places: Vec<usize>,
}

/// A step, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    /// How often it may be called, the first time included.
    pub(crate) attempts: u32,
    /// Whether what it does is part of the transaction that ends it: then it happened if that was committed, and not otherwise.
    pub(crate) has_tx: bool,
    /// How often its compensation may be called; `None` where there is none.
    pub(crate) undo: Option<u32>,
    /// From here on there is no way back.
    pub(crate) is_pivot: bool,
    /// Whether it waits for an event.
    pub(crate) awaits: bool,
}

/// Where a saga stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) phase: Phase,
    pub(crate) steps: Vec<Progress>,
    /// Whether somebody wants it back.
    pub(crate) is_cancelled: bool,
    /// How often in a row its owner was lost, with nothing ended in between.
    pub(crate) cuts: u32,
}

/// What a saga is doing as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    New,
    Forward,
    Compensating,
    Completed,
    Compensated,
    /// It cannot go on by itself. Somebody looks, mends and resumes it.
    Stuck(Stuck),
}

/// Why a saga does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stuck {
    /// A step behind the pivot has used up its attempts.
    Forward,
    /// Compensations have used up their attempts; the others were made.
    Undoing,
    /// Too many owners were lost: what it does may be what ends them.
    Lost,
}

/// Where a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    Open,
    /// Waits for its event.
    Awaiting,
    Running {
        attempt: u32,
        /// Whether an attempt before may have happened, though it did not end.
        in_doubt: bool,
    },
    /// Is tried again when a pause is over.
    Pausing {
        attempt: u32,
        in_doubt: bool,
    },
    Done,
    Failed {
        in_doubt: bool,
    },
    Undoing {
        attempt: u32,
    },
    UndoPausing {
        attempt: u32,
    },
    Undone,
    /// Its compensation has given up.
    Kept,
}

/// What has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    Start,
    /// An awaited event is there.
    Came(usize),
    /// An awaited event did not come in time.
    Late(usize),
    Ended(usize, Ended),
    /// A pause is over.
    Due(usize),
    /// The owner was lost, and somebody else goes on.
    Cut,
    /// Somebody wants what was done undone.
    Cancel,
    /// Somebody has looked, and wants it to go on.
    Resume,
}

/// How an attempt at a step, or at its compensation, ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Well,
    /// It returned an error: it has not happened.
    Failed,
    /// Its time was over, or it panicked: it may have happened where it has no transaction.
    Broke,
    /// It has not happened, and another attempt would fail in the same way.
    Hopeless,
}

/// What is to be done once the state is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    Run { step: usize, attempt: u32 },
    Await { step: usize },
    Pause { step: usize, attempt: u32 },
    Undo { step: usize, attempt: u32 },
    UndoPause { step: usize, attempt: u32 },
}

impl Effect {
    /// The step that it is about.
    pub(crate) const fn step(self) -> usize {
        match self {
            Self::Run { step, .. }
            | Self::Await { step }
            | Self::Pause { step, .. }
            | Self::Undo { step, .. }
            | Self::UndoPause { step, .. } => step,
        }
    }
}

/// What cannot have happened to a saga in that state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Illegal {
    pub(crate) state: State,
    pub(crate) input: Input,
}

/// So many owners may be lost in a row.
pub(crate) const MOST_CUTS: u32 = 10;

impl Shape {
    fn place_of(&self, step: usize) -> usize {
        self.places.iter().position(|end| step < *end).unwrap_or(self.places.len())
    }

    fn members(&self, place: usize) -> std::ops::Range<usize> {
        let begin = if place == 0 { 0 } else { self.places[place - 1] };
        begin..self.places[place]
    }

    /// The steps that stand side by side with this one, and it.
    pub(crate) fn beside(&self, step: usize) -> std::ops::Range<usize> {
        self.members(self.place_of(step))
    }

    /// A saga that has not begun.
    pub(crate) fn begin(&self) -> State {
        State { phase: Phase::New, steps: vec![Progress::Open; self.steps.len()], is_cancelled: false, cuts: 0 }
    }

    /// What follows.
    pub(crate) fn next(&self, before: &State, input: Input) -> Result<(State, Vec<Effect>), Illegal> {
        let (mut state, mut effects) = (before.clone(), Vec::new());
        if self.take(&mut state, input, &mut effects) {
            Ok((state, effects))
        } else {
            Err(Illegal { state: before.clone(), input })
        }
    }

    fn take(&self, state: &mut State, input: Input, effects: &mut Vec<Effect>) -> bool {
        match (state.phase, input) {
            (Phase::New, Input::Start) => {
                state.phase = Phase::Forward;
                self.enter(state, 0, effects);
            }
            (Phase::Forward, Input::Came(step)) => return came(state, step, effects),
            (Phase::Forward, Input::Late(step)) => {
                if state.steps.get(step) != Some(&Progress::Awaiting) {
                    return false;
                }
                state.steps[step] = Progress::Failed { in_doubt: false };
                self.go_on(state, step, effects);
            }
            (Phase::Forward, Input::Ended(step, ended)) => return self.ended(state, step, ended, effects),
            (Phase::Compensating, Input::Ended(step, ended)) => return self.undone(state, step, ended, effects),
            (Phase::Forward | Phase::Compensating, Input::Due(step)) => return due(state, step, effects),
            (Phase::Forward | Phase::Compensating, Input::Cut) => self.cut(state, effects),
            (Phase::Forward, Input::Cancel) => return self.cancel(state, effects),
            (Phase::Stuck(why), Input::Resume) => self.resume(state, why, effects),
            _ => return false,
        }
        true
    }

    /// Begins a place, or ends the saga behind the last one.
    fn enter(&self, state: &mut State, place: usize, effects: &mut Vec<Effect>) {
        if place == self.places.len() {
            state.phase = Phase::Completed;
            return;
        }
        for step in self.members(place) {
            self.launch(state, step, effects);
        }
    }

    fn launch(&self, state: &mut State, step: usize, effects: &mut Vec<Effect>) {
        if self.steps[step].awaits {
            state.steps[step] = Progress::Awaiting;
            effects.push(Effect::Await { step });
        } else {
            run(state, step, 1, false, effects);
        }
    }

    fn ended(&self, state: &mut State, step: usize, ended: Ended, effects: &mut Vec<Effect>) -> bool {
        let Some(&Progress::Running { attempt, in_doubt }) = state.steps.get(step) else { return false };
        state.cuts = 0;
        if ended == Ended::Well {
            state.steps[step] = Progress::Done;
            self.go_on(state, step, effects);
            return true;
        }
        let in_doubt = in_doubt || (ended == Ended::Broke && !self.steps[step].has_tx);
        // Whoever wants it back does not want it tried again; behind the pivot nobody gets it back.
        let is_tried_again = !state.is_cancelled || self.is_beyond(state);
        if attempt < self.steps[step].attempts && is_tried_again && ended != Ended::Hopeless {
            let attempt = attempt + 1;
            state.steps[step] = Progress::Pausing { attempt, in_doubt };
            effects.push(Effect::Pause { step, attempt });
            return true;
        }
        state.steps[step] = Progress::Failed { in_doubt };
        self.go_on(state, step, effects);
        true
    }

    /// After a step of a place has ended: when all have, the next place, or the way back.
    fn go_on(&self, state: &mut State, step: usize, effects: &mut Vec<Effect>) {
        let place = self.place_of(step);
        let members = &state.steps[self.members(place)];
        if !members.iter().all(|member| matches!(member, Progress::Done | Progress::Failed { .. })) {
            return;
        }
        let has_failed = members.iter().any(|member| matches!(member, Progress::Failed { .. }));
        if !has_failed && (!state.is_cancelled || self.is_beyond(state)) {
            return self.enter(state, place + 1, effects);
        }
        if self.is_beyond(state) {
            state.phase = Phase::Stuck(Stuck::Forward);
        } else {
            state.phase = Phase::Compensating;
            self.undo_next(state, effects);
        }
    }

    /// Whether the pivot is done.
    fn is_beyond(&self, state: &State) -> bool {
        self.steps.iter().zip(&state.steps).any(|(step, progress)| step.is_pivot && *progress == Progress::Done)
    }

    /// Undoes the last of what was done, or ends.
    fn undo_next(&self, state: &mut State, effects: &mut Vec<Effect>) {
        let has_happened =
            |progress: &Progress| matches!(progress, Progress::Done | Progress::Failed { in_doubt: true });
        let next = state
            .steps
            .iter()
            .enumerate()
            .rev()
            .find(|(at, progress)| self.steps[*at].undo.is_some() && has_happened(progress));
        if let Some((step, _)) = next {
            undo(state, step, 1, effects);
        } else if state.steps.contains(&Progress::Kept) {
            state.phase = Phase::Stuck(Stuck::Undoing);
        } else {
            state.phase = Phase::Compensated;
        }
    }

    fn undone(&self, state: &mut State, step: usize, ended: Ended, effects: &mut Vec<Effect>) -> bool {
        let Some(&Progress::Undoing { attempt }) = state.steps.get(step) else { return false };
        state.cuts = 0;
        if ended == Ended::Well {
            state.steps[step] = Progress::Undone;
        } else if ended != Ended::Hopeless && self.steps[step].undo.is_some_and(|attempts| attempt < attempts) {
            let attempt = attempt + 1;
            state.steps[step] = Progress::UndoPausing { attempt };
            effects.push(Effect::UndoPause { step, attempt });
            return true;
        } else {
            state.steps[step] = Progress::Kept;
        }
        self.undo_next(state, effects);
        true
    }

    /// Whoever goes on does again what was under way: the same attempts, which are the saga's and not its owner's.
    fn cut(&self, state: &mut State, effects: &mut Vec<Effect>) {
        state.cuts += 1;
        if state.cuts > MOST_CUTS {
            state.phase = Phase::Stuck(Stuck::Lost);
            return;
        }
        self.again(state, effects);
    }

    fn again(&self, state: &mut State, effects: &mut Vec<Effect>) {
        for step in 0..state.steps.len() {
            match state.steps[step] {
                Progress::Running { attempt, in_doubt } => {
                    run(state, step, attempt, in_doubt || !self.steps[step].has_tx, effects);
                }
                Progress::Undoing { attempt } => effects.push(Effect::Undo { step, attempt }),
                Progress::Awaiting => effects.push(Effect::Await { step }),
                Progress::Pausing { attempt, .. } => effects.push(Effect::Pause { step, attempt }),
                Progress::UndoPausing { attempt } => effects.push(Effect::UndoPause { step, attempt }),
                _ => {}
            }
        }
    }

    /// What runs is let end. What waits does not wait any more.
    fn cancel(&self, state: &mut State, effects: &mut Vec<Effect>) -> bool {
        if self.is_beyond(state) || state.is_cancelled {
            return false;
        }
        state.is_cancelled = true;
        let mut last = None;
        for step in 0..state.steps.len() {
            let in_doubt = match state.steps[step] {
                Progress::Awaiting => false,
                Progress::Pausing { in_doubt, .. } => in_doubt,
                _ => continue,
            };
            state.steps[step] = Progress::Failed { in_doubt };
            last = Some(step);
        }
        if let Some(step) = last {
            self.go_on(state, step, effects);
        }
        true
    }

    fn resume(&self, state: &mut State, why: Stuck, effects: &mut Vec<Effect>) {
        state.cuts = 0;
        match why {
            Stuck::Forward => {
                state.phase = Phase::Forward;
                for step in 0..state.steps.len() {
                    if let Progress::Failed { in_doubt } = state.steps[step] {
                        if self.steps[step].awaits {
                            self.launch(state, step, effects);
                        } else {
                            run(state, step, 1, in_doubt, effects);
                        }
                    }
                }
            }
            Stuck::Undoing => {
                state.phase = Phase::Compensating;
                for progress in &mut state.steps {
                    if *progress == Progress::Kept {
                        *progress = Progress::Done;
                    }
                }
                self.undo_next(state, effects);
            }
            Stuck::Lost => {
                let is_back = state
                    .steps
                    .iter()
                    .any(|progress| matches!(progress, Progress::Undoing { .. } | Progress::UndoPausing { .. }));
                state.phase = if is_back { Phase::Compensating } else { Phase::Forward };
                self.again(state, effects);
            }
        }
    }
}

fn run(state: &mut State, step: usize, attempt: u32, in_doubt: bool, effects: &mut Vec<Effect>) {
    state.steps[step] = Progress::Running { attempt, in_doubt };
    effects.push(Effect::Run { step, attempt });
}

fn came(state: &mut State, step: usize, effects: &mut Vec<Effect>) -> bool {
    let is_awaited = state.steps.get(step) == Some(&Progress::Awaiting);
    if is_awaited {
        run(state, step, 1, false, effects);
    }
    is_awaited
}

fn undo(state: &mut State, step: usize, attempt: u32, effects: &mut Vec<Effect>) {
    state.steps[step] = Progress::Undoing { attempt };
    effects.push(Effect::Undo { step, attempt });
}

fn due(state: &mut State, step: usize, effects: &mut Vec<Effect>) -> bool {
    match state.steps.get(step) {
        Some(&Progress::Pausing { attempt, in_doubt }) => run(state, step, attempt, in_doubt, effects),
        Some(&Progress::UndoPausing { attempt }) => undo(state, step, attempt, effects),
        _ => return false,
    }
    true
}

#[cfg(test)]
mod tests;
