//! A call that needs more than its handler: a transaction, middleware, options of the caller.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::guard::{Caught, Guarded};
use super::handler::{Opening, abandon, context, open_unit};
use super::idempotent::Key;
use super::options::{CallOptions, Within};
use super::thunk::AnyCall;
use super::{Conclusion, DispatchError, Failure, idempotent};
use crate::BoxError;
use crate::app::App;
use crate::message::Handled;
use crate::middleware::{CallKind, MessageCell, Outcome, Refusal, Terminal};
use crate::store::driver::BoxFuture;
use crate::unit::{Cx, Meta, MetaInit, Unit};

type Answer<M> = Result<<M as Handled>::Response, DispatchError<<M as Handled>::Error>>;

/// Runs a call, its middleware around it.
pub(crate) async fn run<M: Handled>(app: App, handler: u32, message: M, options: CallOptions<'_>) -> Answer<M> {
    let CallOptions { timeout, meta, within, key, key_scope } = options;
    let key = key.map(|key| key.of(key_scope));
    let meta = Arc::new(Meta::new(MetaInit { ahead: app.clock().ahead(), ..meta }));
    let kind = CallKind::of(M::SPEC);
    let chain = app.plan().middleware(kind);
    if chain.is_empty() {
        return bounded(&app, handler, message, meta, timeout, within, key).await;
    }
    let cell = MessageCell::new(message);
    let mut terminal = CallTerminal::<M> {
        app: &app,
        handler,
        cell: &cell,
        meta: Arc::clone(&meta),
        timeout,
        within,
        key,
        answer: None,
    };
    let outcome = chain.run(kind, M::SPEC, &meta, &cell, &mut terminal).await.map_err(Failure::widen)?;
    terminal.finish(outcome)
}

/// Runs the unit of work, for at most as long as the caller allows; what follows the commit takes what it takes.
async fn bounded<M: Handled>(
    app: &App,
    handler: u32,
    message: M,
    meta: Arc<Meta>,
    timeout: Option<Duration>,
    within: Option<Within<'_>>,
    key: Option<Key>,
) -> Answer<M> {
    if let Some(key) = key {
        return Box::pin(idempotent::run(app, handler, message, meta, timeout, within, key)).await;
    }
    if timeout.is_none() && within.is_none() && !app.planned(handler).needs_unit {
        return bare(app, handler, message, meta).await;
    }
    Box::pin(in_unit(app, handler, message, meta, timeout, within)).await
}

/// Runs a handler that needs no unit of work of its own: a middleware brought the call here.
async fn bare<M: Handled>(app: &App, handler: u32, message: M, meta: Arc<Meta>) -> Answer<M> {
    let call = call::<M>(app, message, context(app, None), handler)?;
    match Caught(call).await {
        Ok((result, cx)) if result.is_err() || cx.events.is_empty() => result,
        Ok((Ok(response), cx)) => {
            let settle = async { super::conclude(cx, Some(meta), M::SPEC.name).await?.complete(app).await };
            Box::pin(settle).await.map_err(Failure::widen)?;
            Ok(response)
        }
        Ok((Err(error), _)) => Err(error),
        Err(message) => Err(DispatchError::Panicked { handler: app.planned(handler).item.name, message }),
    }
}

/// Calls the handler of `M`.
fn call<'a, M: Handled>(
    app: &App,
    message: M,
    cx: Cx<'a>,
    handler: u32,
) -> Result<AnyCall<'a, M>, DispatchError<M::Error>> {
    let missing = || DispatchError::NoHandler { message: std::any::type_name::<M>() };
    let entry = app.plan().calls.get(&M::SPEC.type_id).ok_or_else(missing)?;
    AnyCall::new(entry.thunk, message, cx, handler).map_err(|_| missing())
}

async fn in_unit<M: Handled>(
    app: &App,
    handler: u32,
    message: M,
    meta: Arc<Meta>,
    timeout: Option<Duration>,
    within: Option<Within<'_>>,
) -> Answer<M> {
    let _running = app.calling();
    let unit = unit(app, handler, message, meta, within);
    let (response, conclusion) = match timeout {
        None => unit.await?,
        Some(after) => match within_time(after, unit).await {
            Some(done) => done?,
            None => return Err(DispatchError::Timeout { handler: app.planned(handler).item.name, after }),
        },
    };
    conclusion.complete(app).await.map_err(Failure::widen)?;
    Ok(response)
}

/// Waits for something for so long. A deadline that is over is over: what would end on its first poll does not begin after
/// it, and what ended behind it, having kept the thread busy, was late.
pub(super) async fn within_time<F: Future>(after: Duration, work: F) -> Option<F::Output> {
    let begun = Instant::now();
    let in_time = || begun.elapsed() < after;
    if !in_time() {
        return None;
    }
    tokio::time::timeout(after, work).await.ok().filter(|_| in_time())
}

async fn unit<'a, M: Handled>(
    app: &App,
    handler: u32,
    message: M,
    meta: Arc<Meta>,
    within: Option<Within<'a>>,
) -> Result<(M::Response, Conclusion<'a>), DispatchError<M::Error>> {
    let opening = Opening { meta: Arc::clone(&meta), scope: None, within };
    let unit = open_unit(app, handler, opening).await.map_err(Failure::widen)?;
    handled(app, handler, message, meta, unit).await
}

/// Runs the handler in its unit of work, up to the point where only the commit is missing.
pub(super) async fn handled<'a, M: Handled>(
    app: &App,
    handler: u32,
    message: M,
    meta: Arc<Meta>,
    unit: Option<Box<Unit<'a>>>,
) -> Result<(M::Response, Conclusion<'a>), DispatchError<M::Error>> {
    let planned = app.planned(handler);
    let holds = unit.as_ref().is_some_and(|unit| unit.tx.open.is_some());
    let call = call::<M>(app, message, context(app, unit), handler)?;
    match Guarded::new(call, holds).await {
        Ok((Ok(response), cx)) => {
            let conclusion = super::conclude(cx, Some(meta), M::SPEC.name).await.map_err(Failure::widen)?;
            Ok((response, conclusion))
        }
        Ok((Err(error), cx)) => {
            abandon(cx).await;
            Err(error)
        }
        Err(message) => Err(DispatchError::Panicked { handler: planned.item.name, message }),
    }
}

struct CallTerminal<'t, 'a, M: Handled> {
    app: &'t App,
    handler: u32,
    cell: &'t MessageCell,
    meta: Arc<Meta>,
    timeout: Option<Duration>,
    within: Option<Within<'a>>,
    key: Option<Key>,
    answer: Option<M::Response>,
}

impl<M: Handled> CallTerminal<'_, '_, M> {
    fn finish(self, outcome: Outcome) -> Answer<M> {
        // A middleware may turn an answer down, never an error into an answer.
        match (outcome.into_result(), self.answer) {
            (Ok(()), Some(response)) => Ok(response),
            (Ok(()), None) => Err(DispatchError::NoHandler { message: std::any::type_name::<M>() }),
            (Err(Refusal::Rejected(source)), _) => Err(DispatchError::Rejected { message: M::SPEC.name, source }),
            (Err(Refusal::Failed(source)), _) => match source.downcast::<DispatchError<M::Error>>() {
                Ok(error) => Err(*error),
                Err(source) => Err(DispatchError::Rejected { message: M::SPEC.name, source }),
            },
        }
    }
}

impl<M: Handled> Terminal for CallTerminal<'_, '_, M> {
    fn run(&mut self) -> BoxFuture<'_, Result<(), BoxError>> {
        Box::pin(async move {
            let answer = match self.cell.take::<M>() {
                Ok(message) => {
                    let meta = Arc::clone(&self.meta);
                    let (within, key) = (self.within.take(), self.key.take());
                    bounded(self.app, self.handler, message, meta, self.timeout, within, key).await
                }
                Err(source) => Err(DispatchError::Rejected { message: M::SPEC.name, source }),
            };
            self.answer = Some(answer.map_err(BoxError::from)?);
            Ok(())
        })
    }
}
