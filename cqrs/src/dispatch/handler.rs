//! Opening a unit of work for a handler, and calling event handlers in it.

use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument;

use super::guard::{Caught, Guarded};
use super::options::Within;
use super::{DispatchError, Failure};
use crate::BoxError;
use crate::app::App;
use crate::event::Events;
use crate::inject::Scope;
use crate::message::Erased;
use crate::middleware::{CallKind, Fault, MessageCell, Refusal, Terminal};
use crate::registry::{HandlerItem, Thunk};
use crate::store::StoreErrorKind;
use crate::store::driver::{BoxFuture, Transaction};
use crate::unit::{Cx, Meta, TxSlot, Unit};

/// Begins a transaction of the app's store. `what` is the message that needs it.
pub(crate) async fn begin_tx(app: &App, what: &'static str) -> Result<Box<dyn Transaction>, Failure> {
    let store = app.store().ok_or_else(|| DispatchError::NoStore { what: format!("`{what}`") })?;
    super::deadlock::check().map_err(|()| DispatchError::WouldDeadlock { message: what })?;
    Ok(store.begin().await?)
}

/// The pause before a store that is busy is asked again by whoever is patient.
pub(crate) const BUSY: Duration = Duration::from_millis(50);

/// Whether others write for longer than the store waits for them.
pub(crate) fn is_busy(failure: &Failure) -> bool {
    matches!(failure, DispatchError::Store { source } if source.kind() == StoreErrorKind::Busy)
}

/// Begins a transaction; where somebody is patient, however long others write.
pub(crate) async fn begin_in_turn(
    app: &App,
    what: &'static str,
    is_patient: bool,
) -> Result<Box<dyn Transaction>, Failure> {
    loop {
        match begin_tx(app, what).await {
            Err(failure) if is_patient && is_busy(&failure) => tokio::time::sleep(BUSY).await,
            end => return end,
        }
    }
}

/// What a handler is called with, beside its message.
pub(crate) struct Opening<'a> {
    pub(crate) meta: Arc<Meta>,
    pub(crate) scope: Option<Arc<Scope>>,
    pub(crate) within: Option<Within<'a>>,
}

/// Opens the unit of work a handler needs: dependencies first, the transaction last. Where there is a policy, the attempt
/// begins it: a call that a breaker turns away waits for no transaction.
pub(crate) async fn open_unit<'a>(
    app: &App,
    handler: u32,
    opening: Opening<'a>,
) -> Result<Option<Box<Unit<'a>>>, Failure> {
    let planned = app.planned(handler);
    if !planned.needs_unit && opening.within.is_none() {
        return Ok(None);
    }
    let scope = opening.scope.unwrap_or_else(|| Arc::new(Scope::new(Arc::clone(&opening.meta))));
    let slots = if planned.scoped { Some(scope.slots(app, planned).await?) } else { None };
    let name = planned.item.message.name;
    let tx = if let Some((tx, home)) = opening.within.and_then(Within::take) {
        borrow_tx(app, tx, home).await?
    } else {
        let mut slot = TxSlot::empty(app.store().cloned());
        if planned.needs_tx && planned.policy.is_none() {
            slot.open = Some(begin_tx(app, name).await?);
        }
        slot
    };
    Ok(Some(Box::new(Unit { tx, meta: opening.meta, slots, scope: Some(scope), ..Unit::default() })))
}

/// A unit of work in which nothing has been done yet.
pub(crate) fn empty_unit<'a>(app: &App, meta: Arc<Meta>) -> Box<Unit<'a>> {
    Box::new(Unit { tx: TxSlot::empty(app.store().cloned()), meta, ..Unit::default() })
}

/// Puts a handler's dependencies in place in the unit of work of the one before it, and begins the transaction it takes
/// if none is open and no policy does so. Gives whether it has begun one.
pub(crate) async fn join_unit(app: &App, handler: u32, unit: &mut Unit<'_>) -> Result<bool, Failure> {
    let planned = app.planned(handler);
    let scope = Arc::clone(unit.scope.get_or_insert_with(|| Arc::new(Scope::new(Arc::clone(&unit.meta)))));
    unit.slots = if planned.scoped { Some(scope.slots(app, planned).await?) } else { None };
    if planned.policy.is_some() { Ok(false) } else { begin_needed(app, handler, unit).await }
}

/// Begins the transaction that a handler takes, if none is open. Gives whether it has.
pub(crate) async fn begin_needed(app: &App, handler: u32, unit: &mut Unit<'_>) -> Result<bool, Failure> {
    let planned = app.planned(handler);
    if !planned.needs_tx || unit.tx.open.is_some() {
        return Ok(false);
    }
    unit.tx.open = Some(begin_in_turn(app, planned.item.message.name, unit.tx.is_patient).await?);
    Ok(true)
}

async fn borrow_tx<'a>(
    app: &App,
    tx: Box<dyn std::any::Any + Send>,
    home: &'a mut dyn crate::unit::Home,
) -> Result<TxSlot<'a>, Failure> {
    let Some(store) = app.store().cloned() else {
        home.put_back(tx);
        return Err(DispatchError::NoStore { what: "`within`".to_owned() });
    };
    let tx = match store.adopt(tx) {
        Ok(tx) => tx,
        Err(tx) => {
            home.put_back(tx);
            let what = "`within` was given a transaction of another database than the app's store";
            return Err(crate::StoreError::new(StoreErrorKind::Configuration, what).into());
        }
    };
    let mut slot = TxSlot::borrowed(store, tx, home);
    slot.begin_savepoint().await?;
    Ok(slot)
}

/// Calls the handler of an event, its middleware around it. The context comes back where the handler lived to return it.
pub(crate) async fn call_event_handler<'a>(
    app: &App,
    handler: u32,
    message: Erased,
    cx: Cx<'a>,
    meta: &Arc<Meta>,
) -> Result<Cx<'a>, Failure> {
    let item = &app.planned(handler).item;
    let cell = MessageCell::shared(message);
    let mut terminal = ErasedTerminal { item, handler, cell: &cell, cx: Some(cx) };
    if app.plan().middleware(CallKind::of(item.message)).is_empty() {
        terminal.call().instrument(span_of(item)).await?;
    } else {
        surround(app, handler, meta, &cell, &mut terminal).await?;
    }
    terminal.cx.take().ok_or(DispatchError::ShuttingDown)
}

/// Calls a handler with the message of a cell, without middleware: whoever calls is what the middleware is around.
pub(crate) async fn call_with_cell<'a>(
    app: &App,
    handler: u32,
    cell: &MessageCell,
    cx: Cx<'a>,
) -> Result<Cx<'a>, Failure> {
    let mut terminal = ErasedTerminal { item: app.planned(handler).item, handler, cell, cx: Some(cx) };
    terminal.call().await?;
    terminal.cx.take().ok_or(DispatchError::ShuttingDown)
}

/// Runs what a handler is the heart of, the middleware of its kind around it.
pub(crate) async fn surround(
    app: &App,
    handler: u32,
    meta: &Arc<Meta>,
    cell: &MessageCell,
    terminal: &mut dyn Terminal,
) -> Result<(), Failure> {
    let item = &app.planned(handler).item;
    let kind = CallKind::of(item.message);
    let chain = app.plan().middleware(kind);
    let outcome = chain.run(kind, item.message, meta, cell, terminal).instrument(span_of(item)).await?;
    outcome.into_result().map_err(|refusal| refused(item.message.name, refusal))
}

pub(crate) fn span_of(item: &HandlerItem) -> tracing::Span {
    let kind = CallKind::of(item.message);
    tracing::debug_span!("handle", %kind, name = item.message.name, handler = item.name)
}

/// Calls a handler of an event that needs neither unit nor middleware.
pub(crate) async fn call_bare_handler<'a>(
    app: &App,
    handler: u32,
    event: Erased,
    cx: Cx<'a>,
) -> Result<Cx<'a>, Failure> {
    let item = &app.planned(handler).item;
    let Thunk::Event(thunk) = item.thunk else { return Ok(cx) };
    let span = tracing::debug_span!("handle", name = item.message.name, handler = item.name);
    match Caught(thunk(event, cx, handler)).instrument(span).await {
        Ok((Ok(()), cx)) => Ok(cx),
        Ok((Err(source), _)) => {
            Err(DispatchError::EventFailed { event: item.message.name, handler: item.name, source })
        }
        Err(message) => Err(DispatchError::Panicked { handler: item.name, message }),
    }
}

fn refused(message: &'static str, refusal: Refusal) -> Failure {
    match refusal {
        Refusal::Rejected(source) => DispatchError::Rejected { message, source },
        Refusal::Failed(source) => match source.downcast::<Failure>() {
            Ok(failure) => *failure,
            Err(source) => DispatchError::Rejected { message, source },
        },
    }
}

struct ErasedTerminal<'t, 'a> {
    item: &'t HandlerItem,
    handler: u32,
    cell: &'t MessageCell,
    cx: Option<Cx<'a>>,
}

impl ErasedTerminal<'_, '_> {
    async fn call(&mut self) -> Result<(), Failure> {
        let item = self.item;
        let rejected = |source| DispatchError::Rejected { message: item.message.name, source };
        let message = self.cell.take_erased(item).map_err(rejected)?;
        let Some(cx) = self.cx.take() else { return Ok(()) };
        let holds = cx.unit.as_ref().is_some_and(|unit| unit.tx.open.is_some());
        let future = match (item.thunk, item.message.codec.run) {
            (Thunk::Event(thunk), _) => thunk(message, cx, self.handler),
            (Thunk::Call(thunk), Some(run)) => (run.0)(thunk, message, cx, self.handler),
            (Thunk::Call(_), None) => return Err(rejected(Fault::new("the command cannot be stored").into())),
            (Thunk::Part, _) => return Err(rejected(Fault::new("it is no handler by itself").into())),
        };
        match Guarded::new(future, holds).await {
            Ok((Ok(()), cx)) => {
                self.cx = Some(cx);
                Ok(())
            }
            Ok((Err(source), cx)) => {
                abandon(cx).await;
                // A handler with a policy, and a command, fail with more than an error of their own.
                Err(match source.downcast::<Failure>() {
                    Ok(failure) => *failure,
                    Err(source) => DispatchError::EventFailed { event: item.message.name, handler: item.name, source },
                })
            }
            Err(message) => Err(DispatchError::Panicked { handler: item.name, message }),
        }
    }
}

impl Terminal for ErasedTerminal<'_, '_> {
    fn run(&mut self) -> BoxFuture<'_, Result<(), BoxError>> {
        Box::pin(async move { self.call().await.map_err(BoxError::from) })
    }
}

/// Undoes what a failed handler did before its error is answered, so that the next call finds the store free. Gives whether its
/// transaction was lost with the connection: then that may be all that was wrong.
pub(crate) async fn abandon(cx: Cx<'_>) -> bool {
    let Some(mut unit) = cx.unit else { return false };
    unit.tx.end_late();
    if unit.tx.is_borrowed() {
        if let Some(tx) = unit.tx.open.as_mut()
            && let Err(error) = tx.rollback_to_savepoint().await
        {
            tracing::warn!(%error, "the savepoint of a failed call could not be rolled back");
        }
        unit.tx.forget_carried();
        unit.tx.give_back();
    } else if let Some(tx) = unit.tx.open.take()
        && let Err(error) = tx.rollback().await
    {
        tracing::warn!(%error, "the transaction of a failed call could not be rolled back; the database will");
        return error.is_retryable();
    }
    false
}

/// Whether the store cannot be reached for now: no fault of who was called.
pub(crate) fn is_outage<E>(failure: &DispatchError<E>) -> bool {
    match failure {
        DispatchError::Store { source } => source.is_retryable(),
        DispatchError::FallbackFailed { source, .. } => is_outage(source),
        _ => false,
    }
}

/// A context for a handler.
pub(crate) fn context<'a>(app: &App, unit: Option<Box<Unit<'a>>>) -> Cx<'a> {
    Cx { app: app.clone(), events: Events::new(), unit }
}
