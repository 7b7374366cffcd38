//! A saga for as long as this process holds it: effects are done, what comes of them is stored, and so on until there is nothing to do.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use uuid::Uuid;

use super::attempt::{Called, Job};
use super::hold::Hold;
use super::instance::{Instance, Told, Turn};
use super::machine::{Effect, Ended, Input, Phase, Progress};
use super::outage::answered;
use super::outcome::Outcome;
use crate::app::App;
use crate::dispatch::{Conclusion, DispatchError, Failure, is_outage, undo};
use crate::error::chain;
use crate::fail_points::{FailPoint, pass};
use crate::retry::random;
use crate::store::driver::{BoxFuture, Driver};
use crate::store::{AwaitedEvent, SagaAsked, SagaChange, SagaClaim, SagaRest, SagaSaved, StoreError, StoreErrorKind};

/// A pause that is over within this time is waited for; during a longer one nobody holds the saga.
const SOON: Duration = Duration::from_secs(1);

/// A saga that this process holds.
pub(crate) struct Held {
    pub(crate) claim: SagaClaim,
    pub(crate) saga: Instance,
    pub(crate) headers: BTreeMap<String, String>,
    /// What somebody asks, and it has not heard of.
    pub(crate) asked: Option<SagaAsked>,
    /// When its lease was asked for.
    pub(crate) since: Instant,
    /// Whether this process waits with it where it takes up no others: nobody might.
    pub(crate) is_kept: bool,
    /// Events that were found for it as it was claimed.
    pub(crate) events: Vec<AwaitedEvent>,
}

/// Why this process goes on with a saga no longer.
#[derive(Debug)]
enum Gone {
    /// Somebody else has it.
    Lost,
    /// Nobody knows what was stored. When the lease runs out, whoever takes the saga up reads it.
    Unknown,
}

/// Goes on with a saga until it rests, or is lost. `effects` are to be done first. Gives how it ended, where it has.
pub(crate) async fn drive(app: &App, store: &Arc<dyn Driver>, taken: Held, effects: Vec<Effect>) -> Option<Outcome> {
    let id: Arc<str> = taken.claim.id.as_str().into();
    let hold = Hold::new(app, &**store, taken.claim.clone(), taken.since);
    let mut run = Run {
        app,
        store,
        id: Arc::clone(&id),
        headers: Arc::new(taken.headers),
        claim: taken.claim,
        saga: taken.saga,
        asked: taken.asked,
        is_kept: taken.is_kept,
        is_held: true,
        hold: &hold,
        calls: FuturesUnordered::new(),
        over: VecDeque::new(),
        at_hand: taken.events,
        came: None,
    };
    let mut rests = false;
    tokio::select! {
        biased;
        gone = run.run(effects) => match gone {
            Ok(()) => rests = true,
            Err(Gone::Lost) => tracing::warn!(saga = %id, "a saga was taken over by another instance"),
            Err(Gone::Unknown) => tracing::warn!(saga = %id, "what was stored of a saga is not known: it goes on when its lease has run out"),
        },
        () = hold.keep() => {
            tracing::warn!(saga = %id, "a saga was taken over by another instance");
        }
    }
    app.saga_bells().of(&id).notify_waiters();
    let ended = if rests && run.asked.is_none() { Outcome::known(&run.saga) } else { None };
    if ended.is_none() {
        app.saga_bells().let_go.notify_one();
    }
    ended
}

struct Run<'a> {
    app: &'a App,
    store: &'a Arc<dyn Driver>,
    id: Arc<str>,
    headers: Arc<BTreeMap<String, String>>,
    claim: SagaClaim,
    saga: Instance,
    asked: Option<SagaAsked>,
    is_kept: bool,
    /// Whether what was stored last says that this process holds it.
    is_held: bool,
    hold: &'a Hold<'a>,
    calls: FuturesUnordered<BoxFuture<'static, Called>>,
    /// Calls that are over, and of which nothing is stored.
    over: VecDeque<Called>,
    /// Events that are known to have come, those of each wait in their order.
    at_hand: Vec<AwaitedEvent>,
    /// The event that was found last: its step is about to be called with it.
    came: Option<Box<AwaitedEvent>>,
}

/// Does something while calls go on: one of them may hold what that waits for.
async fn beside<T>(
    calls: &mut FuturesUnordered<BoxFuture<'static, Called>>,
    over: &mut VecDeque<Called>,
    what: impl Future<Output = T>,
) -> T {
    tokio::pin!(what);
    loop {
        tokio::select! {
            biased;
            done = &mut what => return done,
            Some(called) = calls.next(), if !calls.is_empty() => over.push_back(called),
        }
    }
}

impl Run<'_> {
    /// Until there is nothing to do, or not yet.
    async fn run(&mut self, effects: Vec<Effect>) -> Result<(), Gone> {
        self.begin(effects).await?;
        loop {
            if self.is_held && !self.is_writing() && self.over.is_empty() {
                self.hear().await?;
                self.take_due().await?;
            }
            if !self.is_held {
                pass(FailPoint::SagaRested);
                if self.asked.is_some() {
                    // It is due: whoever takes it up hears of that.
                    self.app.wake();
                }
                return Ok(());
            }
            if let Some(called) = self.next_over() {
                self.ended(called).await?;
                continue;
            }
            let rest = self.rest(&self.saga);
            if rest != SagaRest::Held {
                self.let_go(rest).await?;
                continue;
            }
            let look = self.next_look();
            tokio::select! {
                biased;
                Some(called) = self.calls.next(), if !self.calls.is_empty() => self.over.push_back(called),
                () = self.app.stopping(), if !self.app.is_stopping() => {}
                () = sleep_until(self.app, look) => {}
            }
        }
    }

    /// Whether a call is under way that has a transaction, or will have one. What is stored by itself waits until it is over: it might
    /// wait for that transaction's locks or connection, which wait to be stored after it.
    fn is_writing(&self) -> bool {
        let steps = self.saga.state.steps.iter().zip(&self.saga.plan.shape.steps).enumerate();
        steps.into_iter().any(|(at, (progress, step))| {
            step.has_tx
                && matches!(progress, Progress::Running { .. })
                && !self.over.iter().any(|called| called.step == at)
        })
    }

    /// A call that is over, of which something is stored now: those first that hold a transaction.
    fn next_over(&mut self) -> Option<Called> {
        let holds = |called: &Called| called.unit.as_ref().is_some_and(Conclusion::has_begun);
        if let Some(at) = self.over.iter().position(holds) {
            return self.over.remove(at);
        }
        if self.is_writing() { None } else { self.over.pop_front() }
    }

    /// Lets the saga go, as it is.
    async fn let_go(&mut self, rest: SagaRest) -> Result<(), Gone> {
        self.hold.let_go();
        let change = self.saga.unchanged(&self.claim, self.app.clock().now(), rest);
        self.save(change).await?;
        self.is_held = false;
        Ok(())
    }

    /// Who holds it from now on. Where nobody would take it up, this process waits for it.
    fn rest(&self, saga: &Instance) -> SagaRest {
        let is_under_way = matches!(saga.state.phase, Phase::New | Phase::Forward | Phase::Compensating);
        if is_under_way && self.app.is_stopping() && !saga.is_busy() {
            // Whoever comes next begins what was put off, and looks for what has come.
            let now = self.app.clock().now();
            let is_due = saga.state.steps.contains(&Progress::Awaiting) || saga.next_due().is_none_or(|due| due <= now);
            return if is_due { SagaRest::Until(now) } else { saga.rest(now, Duration::ZERO) };
        }
        if is_under_way && self.is_kept && !self.app.runs_sagas() {
            return SagaRest::Held;
        }
        saga.rest(self.app.clock().now(), SOON)
    }

    /// When a pause is over, or it is time to look for an event.
    fn next_look(&self) -> Option<SystemTime> {
        if self.is_writing() {
            return None;
        }
        let awaits = self.saga.state.steps.contains(&Progress::Awaiting);
        let look = awaits.then(|| self.app.clock().now() + self.app.options().lease / 3);
        self.saga.next_due().into_iter().chain(look).min()
    }

    /// Hears what somebody asks.
    async fn hear(&mut self) -> Result<(), Gone> {
        let Some(asked) = self.asked.take() else { return Ok(()) };
        let input = match asked {
            SagaAsked::Cancel => Input::Cancel,
            SagaAsked::Resume => Input::Resume,
        };
        if !self.saga.takes(input) {
            // It came too late. Not answered it would be asked for ever, and the saga be due as soon as it is let go.
            let unchanged = self.saga.unchanged(&self.claim, self.app.clock().now(), SagaRest::Held);
            return self.save(SagaChange { heard: Some(asked), ..unchanged }).await;
        }
        self.turn(input, Told { heard: Some(asked), ..Told::default() }, None).await
    }

    /// Goes on with what has paused or waited for long enough, or has come.
    async fn take_due(&mut self) -> Result<(), Gone> {
        if self.app.is_stopping() {
            return Ok(());
        }
        let waiting: Vec<usize> = self.saga.waiting().collect();
        for step in waiting {
            let is_due = self.saga.marks[step].due_at.is_some_and(|due| due <= self.app.clock().now());
            match self.saga.state.steps[step] {
                Progress::Awaiting => {
                    if let Some(event) = self.event(step).await? {
                        pass(FailPoint::SagaCame);
                        self.turn(Input::Came(step), Told { event: Some(event), ..Told::default() }, None).await?;
                    } else if is_due {
                        let name = self.saga.planned(step).awaits().map_or("", |awaits| awaits.event.name);
                        let error = Some(format!("the event `{name}` did not come in time"));
                        self.turn(Input::Late(step), Told { error, ..Told::default() }, None).await?;
                    }
                }
                Progress::Pausing { .. } | Progress::UndoPausing { .. } if is_due => {
                    self.turn(Input::Due(step), Told::default(), None).await?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The first event that came for a step, and was not taken by another one. A store that cannot be reached is asked again: let go
    /// before, the saga might wait for what is there.
    async fn event(&mut self, step: usize) -> Result<Option<Uuid>, Gone> {
        let Some(wait) = self.saga.marks[step].wait.clone() else { return Ok(None) };
        let Some(sagas) = self.store.sagas() else { return Err(Gone::Lost) };
        let is_taken = |id: &Uuid| self.saga.marks.iter().any(|mark| mark.event.as_ref() == Some(id));
        let at_hand = self.at_hand.iter().position(|event| event.wait == wait && !is_taken(&event.id));
        let came = if let Some(at) = at_hand {
            Some(self.at_hand.remove(at))
        } else {
            let asking = answered(|| sagas.awaited(wait.clone()));
            let events = beside(&mut self.calls, &mut self.over, asking).await.map_err(|error| {
                tracing::error!(saga = %self.id, error = chain(&error), "events of a saga could not be looked for");
                Gone::Unknown
            })?;
            events.into_iter().find(|event| !is_taken(&event.id))
        };
        self.came = came.map(Box::new);
        Ok(self.came.as_ref().map(|event| event.id))
    }

    async fn ended(&mut self, called: Called) -> Result<(), Gone> {
        pass(FailPoint::SagaCalled);
        let Called { step, began_at, ended, error, end, unit } = called;
        // What was asked before it ended is heard with that: otherwise the next step would begin first.
        let heard = self.asked.filter(|asked| *asked == SagaAsked::Cancel);
        let told = Told { began_at: Some(began_at), error, end, heard, ..Told::default() };
        self.turn(Input::Ended(step, ended), told, unit).await
    }

    /// Stores what follows, and does it.
    async fn turn(&mut self, input: Input, told: Told, unit: Option<Conclusion<'static>>) -> Result<(), Gone> {
        let (began_at, now) = (told.began_at, self.app.clock().now());
        let mut turn = match self.saga.turn(input, told, now, random()) {
            // What is under way ends here; what comes after it begins elsewhere.
            Ok(turn) if self.app.is_stopping() => turn.put_off(&self.saga, now),
            Ok(turn) => turn,
            Err(illegal) => {
                // It came too late: what it is about has ended otherwise.
                tracing::debug!(saga = %self.id, ?illegal, "what happened to a saga does not matter any more");
                if let Some(unit) = unit {
                    undo(unit, self.app).await;
                }
                return Ok(());
            }
        };
        // Of a group whose changes could not be applied, what the last member wrote is undone with it.
        let unit = match unit {
            Some(unit) if !turn.has_happened => {
                undo(unit, self.app).await;
                None
            }
            unit => unit,
        };
        // An event that came before is looked for once the wait is stored, and by this process: so nobody misses it.
        let is_looking = turn.effects.iter().any(|effect| matches!(effect, Effect::Await { .. }));
        let rest = if is_looking { SagaRest::Held } else { self.rest(&turn.next) };
        if rest != SagaRest::Held {
            self.hold.let_go();
        }
        match self.store(&mut turn, unit, now, rest.clone()).await {
            Ok(()) => {
                pass(FailPoint::SagaStored);
                self.is_held = rest == SagaRest::Held;
                // What was to begin waits until it is heard what somebody asks: a step that writes would be let end.
                let turn = if self.asked.is_some() { turn.put_off(&self.saga, now) } else { turn };
                let Turn { next, effects, .. } = turn;
                self.saga = next;
                self.note_stuck();
                self.begin(effects).await
            }
            Err(Unstored::Gone(gone)) => Err(gone),
            Err(Unstored::Refused(failure)) => {
                let Input::Ended(step, _) = input else { return Err(Gone::Unknown) };
                if is_outage(&failure) && self.is_in_transaction(step) {
                    tracing::warn!(saga = %self.id, error = chain(&failure), "a step could not be committed; it is called again");
                    return self.begin(self.again(step).into_iter().collect()).await;
                }
                let told = Told { began_at, error: Some(chain(&failure)), ..Told::default() };
                // One without a transaction has happened.
                Box::pin(self.turn(Input::Ended(step, Ended::Broke), told, None)).await
            }
        }
    }

    /// Whether all that is called for a step is part of a transaction, which says whether it has happened.
    fn is_in_transaction(&self, step: usize) -> bool {
        self.saga.planned(step).has_tx(matches!(self.saga.state.steps[step], Progress::Undoing { .. }))
    }

    /// The same attempt at a step once more.
    fn again(&self, step: usize) -> Option<Effect> {
        match self.saga.state.steps[step] {
            Progress::Running { attempt, .. } => Some(Effect::Run { step, attempt }),
            Progress::Undoing { attempt } => Some(Effect::Undo { step, attempt }),
            _ => None,
        }
    }

    /// Somebody has to look: nothing else will move it.
    fn note_stuck(&self) {
        if let Phase::Stuck(why) = self.saga.state.phase {
            let (name, error) = (self.saga.plan.name(), self.saga.error.as_deref().unwrap_or_default());
            tracing::error!(saga = %self.id, name, ?why, error, "a saga is stuck; help: mend what it fails with, then `app.sagas().resume(..)`");
        }
    }

    /// Stores what follows, in the step's own transaction where it has one.
    async fn store(
        &mut self,
        turn: &mut Turn,
        unit: Option<Conclusion<'static>>,
        now: SystemTime,
        rest: SagaRest,
    ) -> Result<(), Unstored> {
        let change = turn.change(&self.claim, now, rest);
        let what = turn.next.plan.name();
        let Some(mut unit) = unit.filter(Conclusion::has_something) else {
            return Ok(self.save(change).await?);
        };
        if !unit.has_begun() {
            self.save(change).await?;
            return self.complete(unit).await;
        }
        let saving = async {
            match unit.begun(self.app, what).await {
                Ok(tx) => tx.save_saga(change).await.map_err(Failure::from),
                Err(failure) => Err(failure),
            }
        };
        match beside(&mut self.calls, &mut self.over, saving).await {
            Ok(SagaSaved::Lost) => {
                undo(unit, self.app).await;
                Err(Unstored::Gone(Gone::Lost))
            }
            Ok(saved) => {
                pass(FailPoint::SagaSaved);
                self.complete(unit).await?;
                Ok(self.heard(saved)?)
            }
            Err(failure) => {
                undo(unit, self.app).await;
                Err(Unstored::Refused(failure))
            }
        }
    }

    async fn complete(&mut self, unit: Conclusion<'static>) -> Result<(), Unstored> {
        match beside(&mut self.calls, &mut self.over, unit.complete(self.app)).await {
            // After the commit: reported where it happened.
            Ok(()) | Err(DispatchError::EventFailed { .. } | DispatchError::EventDepth { .. }) => Ok(()),
            Err(failure) if is_unknown(&failure) => Err(Unstored::Gone(Gone::Unknown)),
            Err(failure) => Err(Unstored::Refused(failure)),
        }
    }

    /// Stores a change by itself. While the store cannot be reached it is tried again: for as long as the lease lasts nobody else does.
    async fn save(&mut self, change: SagaChange) -> Result<(), Gone> {
        let (together, store) = (self.app.saga_changes(), self.store);
        let saving = answered(|| together.save(store, change.clone()));
        let saved = beside(&mut self.calls, &mut self.over, saving).await.map_err(|error| {
            tracing::error!(saga = %self.id, error = chain(&error), "what became of a saga could not be stored");
            Gone::Unknown
        })?;
        self.heard(saved)
    }

    fn heard(&mut self, saved: SagaSaved) -> Result<(), Gone> {
        match saved {
            SagaSaved::Stored(asked) => {
                self.asked = asked;
                Ok(())
            }
            SagaSaved::Lost => Err(Gone::Lost),
        }
    }

    /// Begins what is to be done. What is called elsewhere no fence holds back: so it is not called where others may have the saga, who may
    /// have done it and undone it by now.
    async fn begin(&mut self, effects: Vec<Effect>) -> Result<(), Gone> {
        let calls = effects.iter().any(|effect| matches!(effect, Effect::Run { .. } | Effect::Undo { .. }));
        if calls && !beside(&mut self.calls, &mut self.over, self.hold.is_held()).await {
            return Err(Gone::Lost);
        }
        for effect in effects {
            let (step, attempt, is_undo) = match effect {
                Effect::Run { step, attempt } => (step, attempt, false),
                Effect::Undo { step, attempt } => (step, attempt, true),
                // They are stored, and found when they are due.
                Effect::Pause { .. } | Effect::UndoPause { .. } | Effect::Await { .. } => continue,
            };
            let mark = &self.saga.marks[step];
            let event = if is_undo { None } else { mark.wait.clone().zip(mark.event) };
            let job = Job {
                saga: Arc::clone(&self.id),
                plan: Arc::clone(&self.saga.plan),
                headers: Arc::clone(&self.headers),
                step,
                is_undo,
                attempt,
                context: Arc::clone(&self.saga.context),
                found: self.came.take_if(|came| event.as_ref().is_some_and(|(_, id)| *id == came.id)),
                event,
            };
            self.calls.push(Box::pin(job.run(self.app.clone())));
        }
        self.app.saga_bells().of(&self.id).notify_waiters();
        Ok(())
    }
}

async fn sleep_until(app: &App, time: Option<SystemTime>) {
    match time {
        Some(time) => app.clock().sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Why a turn was not stored.
enum Unstored {
    Gone(Gone),
    /// The step's transaction could not be committed: it has not happened.
    Refused(Failure),
}

impl From<Gone> for Unstored {
    fn from(gone: Gone) -> Self {
        Self::Gone(gone)
    }
}

fn is_unknown(failure: &Failure) -> bool {
    let is = |error: &StoreError| error.kind() == StoreErrorKind::CommitUnknown;
    match failure {
        DispatchError::CommitUnknown { .. } => true,
        DispatchError::Store { source } => is(source),
        _ => false,
    }
}
