//! One call of a step's function, or of its compensation's, in its unit of work.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use tracing::Instrument;
use uuid::Uuid;

use super::StepKey;
use super::item::WayBack;
use super::machine::Ended;
use super::outage::{self, answered};
use super::plan::PlannedSaga;
use super::step::{StepEnd, StepFailure, StepThunk};
use crate::BoxError;
use crate::app::App;
use crate::dispatch::{
    Conclusion, Failure, Guarded, abandon, call_context, caught, conclude, is_outage, span_of, surround,
};
use crate::error::chain;
use crate::message::Erased;
use crate::middleware::{CallKind, MessageCell, Terminal};
use crate::store::driver::BoxFuture;
use crate::store::{AwaitedEvent, SagaWait, is_unreachable};
use crate::unit::{Cx, Meta, MetaInit};
use crate::wire;
use crate::worker::{decode, open};

/// What is to be called.
pub(crate) struct Job {
    pub(crate) saga: Arc<str>,
    pub(crate) plan: Arc<PlannedSaga>,
    pub(crate) headers: Arc<BTreeMap<String, String>>,
    pub(crate) step: usize,
    pub(crate) is_undo: bool,
    pub(crate) attempt: u32,
    pub(crate) context: Arc<[u8]>,
    /// The event that the step took, and what it is kept by.
    pub(crate) event: Option<(SagaWait, Uuid)>,
    /// The same as it was found, where that was just now.
    pub(crate) found: Option<Box<AwaitedEvent>>,
}

/// How a call ended.
pub(crate) struct Called {
    pub(crate) step: usize,
    pub(crate) began_at: SystemTime,
    pub(crate) ended: Ended,
    pub(crate) error: Option<String>,
    pub(crate) end: StepEnd,
    /// Its unit of work, where only the commit is missing.
    pub(crate) unit: Option<Conclusion<'static>>,
}

impl Job {
    fn function(&self) -> Option<(u32, StepThunk)> {
        let step = &self.plan.steps[self.step];
        if !self.is_undo {
            return Some((step.handler, step.item.thunk));
        }
        match step.item.back {
            WayBack::By(compensation) => Some((step.undo?, compensation.thunk)),
            WayBack::Unsaid | WayBack::Nothing => None,
        }
    }

    fn meta(&self) -> Meta {
        let uuid = |name| self.headers.get(name).and_then(|text| text.parse().ok());
        Meta::new(MetaInit {
            correlation_id: uuid(wire::CORRELATION_ID),
            causation_id: uuid(wire::CAUSATION_ID),
            key: Some(self.saga.to_string()),
            headers: (*self.headers).clone(),
            attempt: Some(self.attempt),
            ..MetaInit::default()
        })
    }

    /// Makes the call. An attempt that takes longer than the app's deadline has failed, as one that takes longer than its own. One that was
    /// undone because the store could not be reached is none: the same is made again.
    pub(crate) async fn run(self, app: App) -> Called {
        let (step, began_at, deadline) = (self.step, app.clock().now(), app.options().deadline);
        let called = |ended, error, end, unit| Called { step, began_at, ended, error, end, unit };
        let mut is_repeated = false;
        loop {
            let event = match self.event(&app).await {
                Ok(event) => event,
                Err(error) => return called(Ended::Failed, Some(error), StepEnd::default(), None),
            };
            return match tokio::time::timeout(deadline, self.call(&app, event)).await {
                Ok(Ok((end, unit))) => called(Ended::Well, None, end, Some(unit)),
                // What a step fails with may be about another database. Of its own, the next call finds out for itself.
                Ok(Err(Failed::Cut(error, _))) if !is_repeated => {
                    tracing::warn!(saga = %self.saga, error, "a step of a saga has lost its connection: it is called again");
                    is_repeated = true;
                    continue;
                }
                Ok(Err(Failed::Cut(error, returned))) => {
                    called(Ended::Failed, Some(error), StepEnd { context: None, returned }, None)
                }
                Ok(Err(Failed::Outage(error))) => {
                    tracing::warn!(saga = %self.saga, error, "the store cannot be reached: a step of a saga is called again");
                    outage::pause().await;
                    continue;
                }
                Ok(Err(Failed::Ended(ended, error, returned))) => {
                    called(ended, Some(error), StepEnd { context: None, returned }, None)
                }
                Err(_) => {
                    let error = format!("the attempt took longer than its deadline of {deadline:?}");
                    called(Ended::Broke, Some(error), StepEnd::default(), None)
                }
            };
        }
    }

    /// Reads what the step has waited for. A store that cannot be reached is asked again: that is no fault of the step's.
    async fn event(&self, app: &App) -> Result<Option<Erased>, String> {
        let Some(awaits) = self.plan.steps[self.step].awaits().filter(|_| !self.is_undo) else { return Ok(None) };
        let gone = || format!("the `{}` that it has waited for is not kept any more", awaits.event.name);
        let ((wait, id), sagas) =
            self.event.as_ref().zip(app.store().and_then(|store| store.sagas())).ok_or_else(gone)?;
        let looked_up;
        let kept = if let Some(found) = &self.found {
            &**found
        } else {
            let events = answered(|| sagas.awaited(wait.clone())).await.map_err(|error| {
                format!("the `{}` that it has waited for cannot be looked up: {}", awaits.event.name, chain(&error))
            })?;
            looked_up = events.into_iter().find(|event| event.id == *id).ok_or_else(gone)?;
            &looked_up
        };
        decode(awaits.event, kept.version, wire::payload_of(&kept.headers), &kept.payload).await.map(Some)
    }

    async fn call(&self, app: &App, event: Option<Erased>) -> Result<(StepEnd, Conclusion<'static>), Failed> {
        let Some((handler, thunk)) = self.function() else {
            return Err(Failed::ended(Ended::Hopeless, "this program has no such function"));
        };
        let has_tx = self.plan.steps[self.step].has_tx(self.is_undo);
        let meta = Arc::new(self.meta());
        // Nothing has been called.
        let mut unit = open(app, handler, &meta).await.map_err(|failure| Failed::of(&failure, Ended::Failed, true))?;
        unit.key = Some(StepKey::new(&self.saga, self.plan.steps[self.step].name, self.is_undo));
        unit.event = event;
        let cx = call_context(app, Some(unit));
        let item = app.planned(handler).item;
        let (end, cx) = surrounded(app, handler, thunk, &meta, Arc::clone(&self.context), cx).await?;
        match end {
            Ok(end) => {
                let unit = conclude(cx, Some(meta), item.message.name).await;
                Ok((end, unit.map_err(|failure| Failed::of(&failure, Ended::Broke, has_tx))?))
            }
            Err(StepFailure { error, of_fallback, may_have_happened, is_in_vain, is_outage }) => {
                let (is_lost, is_cut) = (abandon(cx).await, is_unreachable(error.as_ref()));
                let keep = self.plan.steps[self.step].item.keep.filter(|_| !self.is_undo);
                let returned = keep.and_then(|keep| (keep.0)(of_fallback.as_ref().unwrap_or(&error).as_ref()));
                let error = chain(error.as_ref());
                match has_tx {
                    true if is_lost || is_outage => return Err(Failed::Outage(error)),
                    true if is_cut => return Err(Failed::Cut(error, returned)),
                    _ => {}
                }
                let ended = match (may_have_happened, is_in_vain) {
                    (true, _) => Ended::Broke,
                    (false, true) => Ended::Hopeless,
                    (false, false) => Ended::Failed,
                };
                Err(Failed::Ended(ended, error, returned))
            }
        }
    }
}

/// Why a call did not end well.
enum Failed {
    /// With what is told of it, and its error where that can be written.
    Ended(Ended, String, Option<Vec<u8>>),
    /// The store could not be reached, and nothing is left of the call.
    Outage(String),
    /// A connection to some database ended in the middle of it, and nothing is left of the call.
    Cut(String, Option<Vec<u8>>),
}

impl Failed {
    fn ended(ended: Ended, error: impl Into<String>) -> Self {
        Self::Ended(ended, error.into(), None)
    }

    fn of(failure: &Failure, ended: Ended, is_undone: bool) -> Self {
        if is_undone && is_outage(failure) { Self::Outage(chain(failure)) } else { Self::ended(ended, chain(failure)) }
    }
}

type Answer = (Result<StepEnd, StepFailure>, Cx<'static>);

/// Calls a function, the middleware of steps around it.
async fn surrounded(
    app: &App,
    handler: u32,
    thunk: StepThunk,
    meta: &Arc<Meta>,
    context: Arc<[u8]>,
    cx: Cx<'static>,
) -> Result<Answer, Failed> {
    let panicked = |panic| Failed::ended(Ended::Broke, format!("it panicked: {panic}"));
    let item = app.planned(handler).item;
    if app.plan().middleware(CallKind::Step).is_empty() {
        return Guarded::new((thunk.0)(context, cx, handler), false).instrument(span_of(item)).await.map_err(panicked);
    }
    let read = item.message.codec.decode.and_then(|decode| caught(|| (decode.0)(&context)).ok()?.ok());
    let cell = MessageCell::of_step(read, item.name);
    let mut whole = Whole { handler, thunk, call: Some((context, cx)), answer: None };
    let passed = surround(app, handler, meta, &cell, &mut whole).await;
    match (whole.answer, passed) {
        (Some(Ok((Ok(_), cx))), Err(failure)) => {
            // It has run: without a transaction of its own it has happened, whatever a middleware makes of that.
            abandon(cx).await;
            Err(Failed::ended(Ended::Broke, chain(&failure)))
        }
        (Some(answer), _) => answer.map_err(panicked),
        (None, Err(failure)) => Err(Failed::ended(Ended::Failed, chain(&failure))),
        (None, Ok(())) => Err(Failed::ended(Ended::Failed, "a middleware answered without running the call")),
    }
}

/// The call, as the innermost middleware runs it.
struct Whole {
    handler: u32,
    thunk: StepThunk,
    call: Option<(Arc<[u8]>, Cx<'static>)>,
    /// What it ended with, or the text of its panic.
    answer: Option<Result<Answer, String>>,
}

impl Terminal for Whole {
    fn run(&mut self) -> BoxFuture<'_, Result<(), BoxError>> {
        Box::pin(async move {
            let Some((context, cx)) = self.call.take() else { return Err("the call was run already".into()) };
            let answer = Guarded::new((self.thunk.0)(context, cx, self.handler), false).await;
            let said = match &answer {
                Ok((Ok(_), _)) => Ok(()),
                Ok((Err(failure), _)) => Err(chain(failure.error.as_ref()).into()),
                Err(panic) => Err(format!("it panicked: {panic}").into()),
            };
            self.answer = Some(answer);
            said
        })
    }
}
