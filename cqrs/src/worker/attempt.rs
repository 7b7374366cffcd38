//! One attempt at stored work or at a consumed message, in its unit of work.

use std::sync::Arc;

use crate::app::App;
use crate::dispatch::{
    Failure, Opening, abandon, call_context, call_event_handler, conclude, open_unit, undo,
};
use crate::message::Erased;
use crate::store::{Claim, InboxMark};
use crate::unit::{Cx, Meta};

/// One attempt.
pub(crate) struct Attempt {
    pub(crate) handler: u32,
    pub(crate) message: Erased,
    pub(crate) meta: Arc<Meta>,
    /// The mark that it was handled, for consumed messages.
    pub(crate) mark: Option<InboxMark>,
    /// The lane whose earlier messages go first, for consumed messages.
    pub(crate) lane: Option<String>,
    /// The stored work that ends with it.
    pub(crate) claim: Option<Claim>,
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

/// Makes an attempt: mark, effects, raised events and the end of the stored work commit together or not at all.
pub(crate) async fn attempt(app: &App, attempt: Attempt) -> Result<Ended, Failure> {
    let Attempt { handler, message, meta, mark, lane, claim } = attempt;
    let opening = Opening { meta: Arc::clone(&meta), scope: None, within: None, with_tx: true };
    let unit = open_unit(app, handler, opening).await?;
    let mut cx = call_context(app, handler, unit);
    if let Some(lane) = lane
        && is_held(&mut cx, &lane).await?
    {
        abandon(cx).await;
        return Ok(Ended::Behind);
    }
    if let Some(mark) = mark
        && !is_first(&mut cx, mark).await?
    {
        return finish_duplicate(cx, claim).await;
    }
    let what = app.planned(handler).item.message.name;
    let cx = call_event_handler(app, handler, message, cx, &meta).await?;
    let mut conclusion = conclude(cx, Some(meta), what).await?;
    if let (Some(claim), Some(tx)) = (claim, conclusion.tx())
        && !tx.finish_work(claim).await?
    {
        undo(conclusion, app).await;
        return Ok(Ended::Lost);
    }
    conclusion.complete(app).await?;
    Ok(Ended::Done)
}

async fn is_held(cx: &mut Cx<'_>, lane: &str) -> Result<bool, Failure> {
    let Some(tx) = cx.unit.as_mut().and_then(|unit| unit.tx.open.as_mut()) else { return Ok(false) };
    Ok(tx.lane_is_held(lane).await?)
}

async fn is_first(cx: &mut Cx<'_>, mark: InboxMark) -> Result<bool, Failure> {
    let Some(tx) = cx.unit.as_mut().and_then(|unit| unit.tx.open.as_mut()) else { return Ok(true) };
    Ok(tx.mark_handled(vec![mark]).await?.first().copied().unwrap_or(true))
}

/// Ends stored work whose message was handled before.
async fn finish_duplicate(mut cx: Cx<'_>, claim: Option<Claim>) -> Result<Ended, Failure> {
    let tx = cx.unit.as_mut().and_then(|unit| unit.tx.open.take());
    match (claim, tx) {
        (Some(claim), Some(mut tx)) => {
            tx.finish_work(claim).await?;
            tx.commit().await?;
        }
        (_, Some(tx)) => tx.rollback().await?,
        (_, None) => abandon(cx).await,
    }
    Ok(Ended::Duplicate)
}
