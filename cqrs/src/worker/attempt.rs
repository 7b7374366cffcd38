//! One attempt at stored work or at a consumed message, in its unit of work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::BoxError;
use crate::app::App;
use crate::dispatch::{
    BUSY, Caught, DispatchError, Failure, Opening, abandon, begin_needed, call_context, call_with_cell, conclude,
    is_busy, open_unit, surround, undo,
};
use crate::fail_points::{FailPoint, pass};
use crate::inject::Scope;
use crate::message::Erased;
use crate::middleware::{CallKind, MessageCell, Terminal};
use crate::store::driver::{BoxFuture, Transaction};
use crate::store::{Claim, InboxMark, Standing};
use crate::unit::{Meta, TxSlot, Unit};

/// Whether an attempt has come to its commit. From there on nobody can take it back, and what follows the commit takes as
/// long as it takes: neither the deadline nor a claim that is gone says anything about it.
#[derive(Debug, Default)]
pub(crate) struct Commit(AtomicBool);

impl Commit {
    pub(crate) fn begin(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Waits for an attempt and its surroundings, until the deadline at most. What is the user's outside of the handler (a
/// `Display`, a `Serialize`, a listener) may panic as well: the attempt has failed then.
pub(crate) async fn in_time<T>(app: &App, commit: &Commit, work: impl Future<Output = T>) -> Result<T, String> {
    let deadline = app.options().deadline;
    let late = async {
        tokio::time::sleep(deadline).await;
        if commit.has_begun() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        biased;
        done = Caught(Box::pin(work)) => done.map_err(|panic| format!("it panicked: {panic}")),
        () = late => Err(format!("the attempt took longer than its deadline of {deadline:?}")),
    }
}

/// One attempt.
pub(crate) struct Attempt<'a> {
    pub(crate) handler: u32,
    pub(crate) message: Erased,
    pub(crate) meta: Arc<Meta>,
    /// The mark that it was handled, for messages just consumed.
    pub(crate) mark: Option<InboxMark>,
    /// The lane whose earlier messages go first, for messages just consumed.
    pub(crate) lane: Option<String>,
    /// The stored work that ends with it.
    pub(crate) claim: Option<Claim>,
    /// Told when it comes to its commit.
    pub(crate) commit: &'a Commit,
}

/// How an attempt ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It was done, and committed.
    Done,
    /// It had been done before.
    Duplicate,
    /// An earlier message of its lane waits, or is dead: it was not tried.
    Behind,
    /// Somebody else owns the work by now: nothing was committed.
    Lost,
}

/// Makes an attempt, the middleware of its kind around all of it, the commit included.
///
/// Whether there is anything to do is asked before: a message that was handled already, or that waits for its key, passes
/// no middleware. It is asked of a reader; the mark itself is written once, in the transaction of the effects, which alone is
/// sure that nobody else was quicker.
pub(crate) async fn attempt(app: &App, attempt: Attempt<'_>) -> Result<Ended, Failure> {
    let planned = app.planned(attempt.handler);
    let item = &planned.item;
    let watched = !app.plan().middleware(CallKind::of(item.message)).is_empty();
    if (watched || !planned.needs_tx)
        && let (Some(store), Some(mark)) = (app.store(), &attempt.mark)
    {
        match store.standing(mark, attempt.lane.as_deref()).await? {
            Standing::New => {}
            Standing::Handled => return Ok(Ended::Duplicate),
            Standing::Behind => return Ok(Ended::Behind),
        }
    }
    let Attempt { handler, message, meta, mark, lane, claim, commit } = attempt;
    let cell = MessageCell::shared(message);
    let unit = UnitOf { handler, meta: Arc::clone(&meta), mark, lane, claim, commit };
    let mut whole = Whole { app, unit: Some(unit), cell: &cell, ended: None };
    let passed = surround(app, handler, &meta, &cell, &mut whole).await;
    match (whole.ended, passed) {
        (Some(ended), passed) => {
            if let Err(DispatchError::Rejected { .. } | DispatchError::Panicked { .. }) = passed
                && ended == Ended::Done
            {
                // What has been committed stays, whatever a middleware makes of it.
                tracing::warn!(name = item.message.name, "a middleware turned a call down after its commit");
            }
            Ok(ended)
        }
        (None, Err(failure)) => Err(failure),
        (None, Ok(())) => Err(DispatchError::Rejected {
            message: item.message.name,
            source: "a middleware answered without running the call".into(),
        }),
    }
}

/// What an attempt's unit of work is made of, beside the message.
struct UnitOf<'a> {
    handler: u32,
    meta: Arc<Meta>,
    mark: Option<InboxMark>,
    lane: Option<String>,
    claim: Option<Claim>,
    commit: &'a Commit,
}

/// The attempt, as the innermost middleware runs it.
struct Whole<'t, 'a> {
    app: &'t App,
    unit: Option<UnitOf<'a>>,
    cell: &'t MessageCell,
    /// How it ended, where it did not fail.
    ended: Option<Ended>,
}

impl Terminal for Whole<'_, '_> {
    fn run(&mut self) -> BoxFuture<'_, Result<(), BoxError>> {
        Box::pin(async move {
            let Some(unit) = self.unit.take() else { return Ok(()) };
            let (ended, after) = in_unit(self.app, unit, self.cell).await?;
            self.ended = Some(ended);
            after?;
            match ended {
                Ended::Done | Ended::Duplicate => Ok(()),
                Ended::Behind => Err("an earlier message of its key has not been handled: it waits".into()),
                Ended::Lost => Err("another instance has taken it over: nothing was committed".into()),
            }
        })
    }
}

/// The attempt in its unit of work: mark, effects, raised events and the end of the stored work commit together or not at
/// all. Gives how it ended, and what failed after the commit.
///
/// A handler that takes `&mut Tx` runs in the transaction that holds the mark. One that does not may be slow, and keeps
/// nobody from writing: what it has to know is asked before it, what it leaves is written after it.
async fn in_unit(app: &App, unit: UnitOf<'_>, cell: &MessageCell) -> Result<(Ended, Result<(), Failure>), Failure> {
    let UnitOf { handler, meta, mark, lane, claim, commit } = unit;
    let planned = app.planned(handler);
    let what = planned.item.message.name;
    let mut unit = open(app, handler, &meta).await?;
    begin_needed(app, handler, &mut unit).await?;
    let mut cx = call_context(app, Some(unit));
    if planned.needs_tx
        && let Some(tx) = cx.unit.as_mut().and_then(|unit| unit.tx.open.as_mut())
        && let Some(ended) = look(tx, mark.clone(), lane.as_deref()).await?
    {
        abandon(cx).await;
        return Ok((ended, Ok(())));
    }
    pass(FailPoint::AttemptMarked);
    let cx = call_with_cell(app, handler, cell, cx).await?;
    let mut conclusion = conclude(cx, Some(meta), what).await?;
    pass(FailPoint::AttemptHandled);
    if !planned.needs_tx
        && let Some(mark) = mark
        && let Some(ended) = look(conclusion.begun(app, what).await?, Some(mark), None).await?
    {
        // Handled by somebody else in the meantime.
        undo(conclusion, app).await;
        return Ok((ended, Ok(())));
    }
    if let Some(claim) = claim
        && !conclusion.begun(app, what).await?.finish_work(claim).await?
    {
        undo(conclusion, app).await;
        return Ok((Ended::Lost, Ok(())));
    }
    if claim.is_some() {
        pass(FailPoint::AttemptEnded);
    }
    commit.begin();
    match conclusion.complete(app).await {
        Ok(()) => Ok((Ended::Done, Ok(()))),
        // After the commit: reported where it happened, and no reason to do it again.
        Err(failure @ (DispatchError::EventFailed { .. } | DispatchError::EventDepth { .. })) => {
            Ok((Ended::Done, Err(failure)))
        }
        Err(failure) => Err(failure),
    }
}

/// Opens the attempt's unit of work. It waits for its transaction for as long as others write: until then nothing has been
/// tried, and the deadline is around it.
pub(crate) async fn open(app: &App, handler: u32, meta: &Arc<Meta>) -> Result<Box<Unit<'static>>, Failure> {
    let scope = Arc::new(Scope::new(Arc::clone(meta)));
    loop {
        let opening = Opening { meta: Arc::clone(meta), scope: Some(Arc::clone(&scope)), within: None };
        match open_unit(app, handler, opening).await {
            Ok(unit) => {
                let tx = TxSlot::empty(app.store().cloned());
                let mut unit = unit.unwrap_or_else(|| {
                    Box::new(Unit { tx, meta: Arc::clone(meta), scope: Some(scope), ..Unit::default() })
                });
                unit.tx.is_patient = true;
                return Ok(unit);
            }
            Err(failure) if is_busy(&failure) => {
                tracing::debug!("others write for long; the attempt waits for its turn");
                tokio::time::sleep(BUSY).await;
            }
            Err(failure) => return Err(failure),
        }
    }
}

/// Marks the message as handled, unless there is a reason not to handle it.
async fn look(
    tx: &mut Box<dyn Transaction>,
    mark: Option<InboxMark>,
    lane: Option<&str>,
) -> Result<Option<Ended>, Failure> {
    if let Some(lane) = lane
        && tx.lane_is_held(lane).await?
    {
        return Ok(Some(Ended::Behind));
    }
    if let Some(mark) = mark
        && tx.mark_handled(vec![mark]).await?.first() == Some(&false)
    {
        return Ok(Some(Ended::Duplicate));
    }
    Ok(None)
}
