//! What one saga did, attempt by attempt, as a sequence diagram: pure, from its rows.

mod order;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use self::order::{Moment, ordered};
use crate::diagram::mermaid::{Arrow, Participant, SequenceDiagram};
use crate::diagram::words::length;
use crate::saga::PlannedSaga;
use crate::store::{SagaAsked, SagaLog, SagaPhase, SagaProgress, SagaRow, SagaStep};

/// The longest text that Mermaid draws, unless told otherwise.
pub(super) const LONGEST: usize = 50_000;

/// How many attempts are drawn of a saga that has made so many that Mermaid would not draw them all.
const SHOWN: [usize; 5] = [200, 100, 50, 25, 10];

/// What is known of one saga.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run<'r> {
    pub(crate) row: &'r SagaRow,
    /// Its steps that have begun.
    pub(crate) steps: &'r [SagaStep],
    /// Its log, in its order.
    pub(crate) log: &'r [SagaLog],
    /// Its definition, where this program has it.
    pub(crate) plan: Option<&'r PlannedSaga>,
}

impl Run<'_> {
    /// The saga's timeline. Of very many attempts those in the middle are left out.
    pub(crate) fn draw(&self) -> String {
        let mut text = self.drawn(usize::MAX);
        for most in SHOWN {
            if text.len() <= LONGEST {
                break;
            }
            text = self.drawn(most);
        }
        text
    }

    fn drawn(&self, most: usize) -> String {
        let mut line = Line::new(self);
        line.began();
        for moment in ordered(self, most) {
            match moment {
                Moment::Began(entry) => line.attempt(entry),
                Moment::Ended(entry) => line.outcome(entry),
                Moment::LeftOut(count) => line.left_out(count),
            }
        }
        if line.is_back() {
            line.turn();
        } else {
            line.ended_untried();
        }
        line.now();
        line.diagram.into_text()
    }

    /// The attempt before this one, at the same step in the same direction.
    fn before(&self, entry: &SagaLog) -> Option<&SagaLog> {
        let is_same = |other: &&SagaLog| other.step == entry.step && other.is_undo == entry.is_undo;
        let earlier = self.log.partition_point(|other| other.number < entry.number);
        self.log[..earlier].iter().rev().find(is_same)
    }

    fn step(&self, name: &str) -> Option<&SagaStep> {
        self.steps.iter().find(|step| step.step == name)
    }

    fn is_pivot(&self, step: &str) -> bool {
        self.plan.is_some_and(|plan| plan.step(step).is_some_and(|step| plan.shape.steps[step].is_pivot))
    }

    /// The last attempt at a step.
    fn last(&self, step: &str) -> Option<&SagaLog> {
        self.log.iter().rev().find(|entry| !entry.is_undo && entry.step == step)
    }

    /// The steps that have begun: in the order of the definition, and else in that of the log.
    fn begun(&self) -> Vec<&str> {
        let mut logged: Vec<&SagaLog> = self.log.iter().collect();
        logged.sort_by_key(|entry| (entry.began_at, entry.number));
        let mut rows: Vec<&str> = self.steps.iter().map(|step| step.step.as_str()).collect();
        rows.sort_unstable();
        let mut names: Vec<&str> = Vec::new();
        for name in logged.into_iter().map(|entry| entry.step.as_str()).chain(rows) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        if let Some(plan) = self.plan {
            names.sort_by_key(|name| plan.step(name).unwrap_or(usize::MAX));
        }
        names
    }

    /// Why a step has failed of which the log tells no failed attempt: it waited, or paused.
    fn untried(&self, step: &SagaStep) -> Option<String> {
        let last = self.last(&step.step);
        if step.progress != SagaProgress::Failed || last.is_some_and(|last| last.progress == SagaProgress::Failed) {
            return None;
        }
        let late = step.error.as_deref().filter(|_| last.is_none());
        Some(late.map_or_else(|| "left off, since somebody has cancelled the saga".to_owned(), first_line))
    }
}

/// A timeline as it is drawn.
struct Line<'r> {
    run: &'r Run<'r>,
    diagram: SequenceDiagram,
    caller: Participant,
    saga: Participant,
    steps: Vec<(&'r str, Participant)>,
    has_turned: bool,
    /// The number of the first attempt after somebody has resumed it, the last time.
    resumed: u32,
}

impl<'r> Line<'r> {
    fn new(run: &'r Run<'r>) -> Self {
        let mut diagram = SequenceDiagram::new();
        let caller = diagram.actor("caller");
        let saga = diagram.participant(&format!("saga {}", run.row.id));
        let steps = run.begun().into_iter().map(|name| (name, diagram.participant(name))).collect();
        Self { run, diagram, caller, saga, steps, has_turned: false, resumed: 0 }
    }

    fn of(&self, step: &str) -> Participant {
        self.steps.iter().find(|(name, _)| *name == step).map_or(self.saga, |(_, participant)| *participant)
    }

    fn last(&self) -> Participant {
        self.steps.last().map_or(self.saga, |(_, participant)| *participant)
    }

    /// How long after the saga's start that was. Clocks of processes differ: nothing was before.
    fn at(&self, time: SystemTime) -> String {
        format!("+{}", length(time.duration_since(self.run.row.started_at).unwrap_or_default()))
    }

    fn note(&mut self, step: &str, text: &str) {
        let step = self.of(step);
        self.diagram.note(step, step, &[text]);
    }

    /// What is said of the saga as a whole.
    fn say(&mut self, text: &str) {
        self.diagram.note(self.saga, self.saga, &[text]);
    }

    fn began(&mut self) {
        let SagaRow { name, version, started_at, .. } = self.run.row;
        let text = format!("{name}, version {version}, at {}", stamp(*started_at));
        self.diagram.message(self.caller, Arrow::Call, self.saga, &text);
        if self.run.plan.is_none() {
            self.say(&format!("this program has no version {version} of {name}"));
        }
    }

    /// An attempt begins, after what came before it at its step.
    fn attempt(&mut self, entry: &SagaLog) {
        let before = self.run.before(entry);
        match before.map(|before| (before, before.progress)) {
            Some((before, SagaProgress::Pausing | SagaProgress::UndoPausing)) => {
                let pause = entry.began_at.duration_since(before.ended_at).unwrap_or_default();
                self.note(&entry.step, &format!("pause of {}", length(pause)));
            }
            Some((before, SagaProgress::Failed | SagaProgress::Kept)) if before.number >= self.resumed => {
                self.resumed = entry.number;
                self.say("somebody has resumed it");
            }
            _ => {}
        }
        if entry.is_undo {
            self.turn();
        } else if before.is_none() {
            self.came(&entry.step);
        }
        let undo = if entry.is_undo { "undo, " } else { "" };
        let text = format!("{undo}attempt {} at {}", entry.attempt, self.at(entry.began_at));
        self.diagram.message(self.saga, Arrow::Call, self.of(&entry.step), &text);
    }

    /// The event is there that a step has waited for.
    fn came(&mut self, step: &str) {
        if let Some(wait) = self.run.step(step).and_then(|row| row.wait.as_ref()) {
            self.note(step, &format!("{} has come", wait.event));
        }
    }

    fn outcome(&mut self, entry: &SagaLog) {
        let took = length(entry.ended_at.duration_since(entry.began_at).unwrap_or_default());
        let when = format!("at {} after {took}", self.at(entry.ended_at));
        let (arrow, word) = match entry.progress {
            SagaProgress::Done => (Arrow::Reply, "done"),
            SagaProgress::Undone => (Arrow::Reply, "undone"),
            SagaProgress::Failed => (Arrow::Failure, "failed for good"),
            SagaProgress::Kept => (Arrow::Failure, "not undone, given up"),
            _ => (Arrow::Failure, "failed"),
        };
        let error = entry.error.as_deref().map(|error| format!(", {}", first_line(error))).unwrap_or_default();
        self.diagram.message(self.of(&entry.step), arrow, self.saga, &format!("{word} {when}{error}"));
        if entry.progress == SagaProgress::Done && self.run.is_pivot(&entry.step) {
            self.note(&entry.step, "the pivot, from here on it only goes forward");
        }
    }

    fn left_out(&mut self, count: usize) {
        self.diagram.note(self.saga, self.last(), &[format!("{count} attempts are left out here")]);
    }

    /// Whether the saga goes back, or did.
    fn is_back(&self) -> bool {
        let is_back = |step: &SagaStep| {
            matches!(
                step.progress,
                SagaProgress::Undoing | SagaProgress::UndoPausing | SagaProgress::Undone | SagaProgress::Kept
            )
        };
        matches!(self.run.row.phase, SagaPhase::Compensating | SagaPhase::Compensated)
            || self.run.steps.iter().any(is_back)
    }

    /// From here on it goes back: said once.
    fn turn(&mut self) {
        if std::mem::replace(&mut self.has_turned, true) {
            return;
        }
        let untried = self.ended_untried();
        let has_failed = |name: &&str| {
            untried.contains(name) || self.run.last(name).is_some_and(|last| last.progress == SagaProgress::Failed)
        };
        let failed: Vec<&str> = self.steps.iter().map(|(name, _)| *name).filter(has_failed).collect();
        let mut lines = vec!["from here on it undoes what was done, the last first".to_owned()];
        if self.run.row.is_cancelled {
            lines.push("somebody has cancelled it".to_owned());
        } else if !failed.is_empty() {
            lines.push(format!("since {} failed", failed.join(" and ")));
        }
        self.diagram.note(self.saga, self.last(), &lines);
    }

    /// Steps that have failed without an attempt.
    fn ended_untried(&mut self) -> Vec<&'r str> {
        let run = self.run;
        let ended: Vec<(&'r str, String)> =
            self.steps.iter().filter_map(|(name, _)| Some((*name, run.untried(run.step(name)?)?))).collect();
        for (name, why) in &ended {
            self.note(name, why);
        }
        ended.into_iter().map(|(name, _)| name).collect()
    }

    /// What is under way or waits, what is asked of it, and where the saga stands.
    fn now(&mut self) {
        let run = self.run;
        for (name, participant) in self.steps.clone() {
            let Some(step) = run.step(name) else { continue };
            match step.progress {
                SagaProgress::Running => {
                    if run.last(name).is_none() {
                        self.came(name);
                    }
                    self.under_way(participant, &format!("attempt {}", step.attempt));
                }
                SagaProgress::Undoing => self.under_way(participant, &format!("undo, attempt {}", step.attempt)),
                SagaProgress::Pausing | SagaProgress::UndoPausing => {
                    let undo = if step.progress == SagaProgress::Pausing { "" } else { "undo, " };
                    let due = step.due_at.map(|due| format!(" until {}", self.at(due))).unwrap_or_default();
                    self.note(name, &format!("pauses{due}, then {undo}attempt {}", step.attempt));
                }
                SagaProgress::Awaiting => {
                    let event = step.wait.as_ref().map_or("its event", |wait| &wait.event);
                    let due = step.due_at.map(|due| format!(", until {}", self.at(due))).unwrap_or_default();
                    self.note(name, &format!("waits for {event}{due}"));
                }
                _ => {}
            }
        }
        self.lost();
        self.end();
        self.asked();
    }

    fn under_way(&mut self, step: Participant, attempt: &str) {
        let is_stuck = self.run.row.phase == SagaPhase::Stuck;
        let text = if is_stuck { "was under way when its process was lost" } else { "is under way" };
        self.diagram.message(self.saga, Arrow::Call, step, &format!("{attempt} {text}"));
    }

    /// How often its process was lost since an attempt has ended.
    fn lost(&mut self) {
        let SagaRow { phase, cuts, .. } = self.run.row;
        if *cuts > 0 && !phase.is_end() {
            let times = if *cuts == 1 { "once".to_owned() } else { format!("{cuts} times in a row") };
            self.say(&format!("the process that held it was lost, {times}"));
        }
    }

    /// What somebody asks of it that it has not heard.
    fn asked(&mut self) {
        match self.run.row.asked {
            Some(SagaAsked::Cancel) => self.say("somebody asks it to undo what was done"),
            Some(SagaAsked::Resume) => self.say("somebody asks it to go on"),
            None => {}
        }
    }

    fn end(&mut self) {
        let row = self.run.row;
        let when = self.at(row.changed_at);
        let (arrow, text) = match row.phase {
            SagaPhase::Completed => (Arrow::Reply, format!("completed at {when}")),
            SagaPhase::Compensated => (Arrow::Failure, format!("compensated at {when}")),
            SagaPhase::Stuck => {
                let error = row.error.as_deref().map(|error| format!("the last error, {}", first_line(error)));
                let why = std::iter::once(crate::saga::stuck_for(&row.why).to_owned()).chain(error);
                self.diagram.note(self.saga, self.saga, &why.collect::<Vec<String>>());
                (Arrow::Failure, format!("stuck at {when}"))
            }
            SagaPhase::Forward | SagaPhase::Compensating => {
                let way = if row.phase == SagaPhase::Forward { "goes forward" } else { "goes back" };
                let by = match row.due_at {
                    _ if row.is_held => ", in the hands of a process".to_owned(),
                    Some(due) => format!(", in nobody's hands until {}", self.at(due)),
                    None => String::new(),
                };
                return self.say(&format!("{way}, changed last at {when}{by}"));
            }
        };
        self.diagram.message(self.saga, arrow, self.caller, &text);
    }
}

/// The first line of an error that says anything.
fn first_line(error: &str) -> String {
    error.lines().find(|line| !line.trim().is_empty()).unwrap_or("without a word").to_owned()
}

/// A time of day, where it is one that a calendar has.
fn stamp(time: SystemTime) -> String {
    /// When the year 10000 begins.
    const END: Duration = Duration::from_hours(70_389_528);
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) if since < END => humantime::format_rfc3339_seconds(time).to_string(),
        _ => "a time of no calendar".to_owned(),
    }
}
