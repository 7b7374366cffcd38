//! What follows a handler that succeeded: inline handlers, the flush, the commit, the plain handlers.
//!
//! Up to the commit a dropped caller rolls everything back. From the commit on nobody can drop it: it runs to its end,
//! on the runtime if need be.

use std::collections::VecDeque;
use std::sync::Arc;

use uuid::Uuid;

use super::handler::{
    Opening, abandon, begin_in_turn, begin_tx, call_bare_handler, call_event_handler, empty_unit, join_unit, open_unit,
};
use super::idempotent::HeldKey;
use super::{Detached, Failure, records_of};
use crate::app::App;
use crate::event::{Cause, Node, Nodes, Raised, process};
use crate::fail_points::{FailPoint, pass};
use crate::inject::Scope;
use crate::message::{Erased, MessageKind};
use crate::middleware::CallKind;
use crate::store::Record;
use crate::store::driver::{BoxFuture, Transaction};
use crate::unit::{Cx, Meta, TxSlot, Unit};

/// A unit of work that is ready to commit.
pub(crate) struct Conclusion<'a> {
    tx: TxSlot<'a>,
    pub(crate) after: After,
    /// The call's idempotency key: how the commit ends decides about it.
    pub(super) key: Option<HeldKey>,
    /// The ids under which what was raised is stored.
    pub(crate) ids: Vec<Uuid>,
}

/// What happens after the commit.
pub(crate) struct After {
    pub(crate) nodes: Vec<Node>,
    pub(crate) cause: Cause,
    pub(crate) scope: Option<Arc<Scope>>,
    /// Whether rows were stored that the relay or a worker waits for.
    pub(crate) stored: bool,
}

impl After {
    fn is_empty(&self) -> bool {
        self.nodes.is_empty() && !self.stored
    }
}

/// Brings a unit of work whose handler succeeded to the point where only the commit is missing.
///
/// `what` is the message that was handled, for error texts.
pub(crate) async fn conclude<'a>(
    cx: Cx<'a>,
    meta: Option<Arc<Meta>>,
    what: &'static str,
) -> Result<Conclusion<'a>, Failure> {
    let app = cx.app.clone();
    let (mut tx, after, records) = raised_in(cx, meta).await?;
    let mut ids = Vec::new();
    if !records.is_empty() {
        if tx.open.is_none() {
            tx.open = Some(begin_in_turn(&app, what, tx.is_patient).await?);
        }
        if let Some(open) = tx.open.as_mut() {
            ids = open.store(records).await?;
        }
    }
    Ok(Conclusion { tx, after, key: None, ids })
}

/// Runs the inline handlers of what a handler raised. Gives its transaction, what follows the commit, and what there is to
/// store before it.
pub(crate) async fn raised_in(
    mut cx: Cx<'_>,
    meta: Option<Arc<Meta>>,
) -> Result<(TxSlot<'_>, After, Vec<Record>), Failure> {
    let app = cx.app.clone();
    let raised = cx.events.take();
    let mut unit = cx.unit.take();
    let has_news = unit.as_ref().is_some_and(|unit| unit.has_news);
    if let Some(unit) = unit.as_mut() {
        unit.tx.end_late();
    }
    if raised.is_empty() && !carries(unit.as_mut()) {
        let (tx, scope) = split(unit);
        let after = After { nodes: Vec::new(), cause: Cause::new(&app, meta), scope, stored: has_news };
        return Ok((tx, after, Vec::new()));
    }
    let cause = Cause::new(&app, meta);
    let nodes = raised.into_iter().map(Node::root).collect();
    let (nodes, mut unit) = run_inline(&app, nodes, unit, &cause).await?;
    // Now that nobody can make a call within this one any more: inline handlers could.
    let carried = take_carried(unit.as_mut());
    let (tx, scope) = split(unit);
    let records = records_of(&app, &nodes, &cause)?;
    // What calls made within this one stored is committed with it.
    let stored = has_news || !records.is_empty() || !carried.is_empty();
    let mut all: Vec<Node> = nodes;
    all.extend(carried);
    Ok((tx, After { nodes: all, cause, scope, stored }, records))
}

/// Whether calls made within this one left something to its owner.
fn carries(unit: Option<&mut Box<Unit<'_>>>) -> bool {
    unit.filter(|unit| !unit.tx.is_borrowed())
        .and_then(|unit| unit.tx.open.as_mut())
        .and_then(|tx| tx.carried())
        .is_some_and(|carried| !carried.0.is_empty())
}

fn take_carried(unit: Option<&mut Box<Unit<'_>>>) -> Vec<Node> {
    unit.filter(|unit| !unit.tx.is_borrowed())
        .and_then(|unit| unit.tx.open.as_mut())
        .and_then(|tx| tx.carried())
        .map(|carried| std::mem::take(&mut carried.0))
        .unwrap_or_default()
}

fn split(unit: Option<Box<Unit<'_>>>) -> (TxSlot<'_>, Option<Arc<Scope>>) {
    match unit {
        Some(unit) => (unit.tx, unit.scope),
        None => (TxSlot::default(), None),
    }
}

/// Runs inline handlers, and those of the events they raise, on the same transaction until there are none left.
async fn run_inline<'a>(
    app: &App,
    nodes: Nodes,
    mut unit: Option<Box<Unit<'a>>>,
    parent: &Cause,
) -> Result<(Vec<Node>, Option<Box<Unit<'a>>>), Failure> {
    let mut queue: VecDeque<Node> = nodes.into();
    let mut done = Vec::with_capacity(queue.len());
    while let Some(node) = queue.pop_front() {
        for handler in app.plan().inline_handlers(&node) {
            node.check_depth(app)?;
            let opened = lend(app, *handler, unit.take(), &node, parent).await?;
            let cx = super::handler::context(app, Some(opened));
            let Some(event) = node.event() else { break };
            let cause = node.meta(parent);
            let mut cx = call_event_handler(app, *handler, event, cx, &cause).await?;
            queue.extend(cx.events.take().into_iter().map(|raised| node.follow_up(raised, &cause)));
            unit = cx.unit.take();
            if let Some(unit) = unit.as_mut() {
                unit.tx.end_late();
            }
        }
        done.push(node);
    }
    Ok((done, unit))
}

/// Lends the unit of work of the handler that raised an event to an inline handler of it.
async fn lend<'a>(
    app: &App,
    handler: u32,
    unit: Option<Box<Unit<'a>>>,
    node: &Node,
    parent: &Cause,
) -> Result<Box<Unit<'a>>, Failure> {
    let mut unit = unit.unwrap_or_else(|| empty_unit(app, Arc::clone(parent.meta())));
    join_unit(app, handler, &mut unit).await?;
    unit.meta = node.meta(parent);
    Ok(unit)
}

impl Conclusion<'_> {
    /// Whether its transaction has begun.
    pub(crate) fn has_begun(&self) -> bool {
        self.tx.open.is_some()
    }

    /// Whether there is anything to commit, or to do after it.
    pub(crate) fn has_something(&self) -> bool {
        self.has_begun() || !self.after.is_empty()
    }

    /// The same, begun here where the call needed none.
    pub(crate) async fn begun(&mut self, app: &App, what: &'static str) -> Result<&mut Box<dyn Transaction>, Failure> {
        let open = match self.tx.open.take() {
            Some(open) => open,
            None => begin_in_turn(app, what, self.tx.is_patient).await?,
        };
        Ok(self.tx.open.insert(open))
    }

    /// Commits, and runs what follows the commit. A call made `within` another only ends its savepoint: what follows
    /// is the other's.
    pub(crate) async fn complete(self, app: &App) -> Result<(), Failure> {
        self.complete_at_once(app, app.options().event_concurrency).await
    }

    /// The same, with at most `limit` plain handlers at once.
    pub(crate) async fn complete_at_once(mut self, app: &App, limit: usize) -> Result<(), Failure> {
        if self.tx.is_borrowed() {
            return self.hand_over().await;
        }
        let tx = self.tx.open.take();
        let after = self.after;
        if tx.is_none() && after.is_empty() {
            return Ok(());
        }
        let rest = commit_and_after(app.clone(), tx, after, limit);
        let rest: BoxFuture<'static, _> = match self.key {
            None => Box::pin(rest),
            Some(key) => Box::pin(key.through(rest)),
        };
        Detached::new(app.tracker().clone(), rest).await
    }

    async fn hand_over(mut self) -> Result<(), Failure> {
        let After { nodes, cause, .. } = self.after;
        self.tx.release(nodes.into_iter().map(|node| node.carried(&cause)).collect()).await?;
        self.tx.give_back();
        Ok(())
    }
}

pub(crate) async fn commit_and_after(
    app: App,
    tx: Option<Box<dyn Transaction>>,
    after: After,
    limit: usize,
) -> Result<(), Failure> {
    if let Some(tx) = tx {
        pass(FailPoint::UnitCommitting);
        tx.commit().await?;
        pass(FailPoint::UnitCommitted);
    }
    app.note_raised(&after.nodes, after.stored);
    if after.nodes.is_empty() {
        return Ok(());
    }
    process(&app, after.nodes, &after.cause, after.scope, limit).await
}

/// What is left to do for what a handler raised.
pub(crate) enum Rest {
    /// Nothing: nobody handles it.
    Nothing,
    /// Plain handlers.
    Plain(Detached<Result<(), Failure>>),
    /// Inline handlers, or something to be stored; what was raised is still in the context.
    More,
}

/// Takes what a handler raised out of its context, where none of it is stored and no inline handler wants it.
pub(crate) fn plain_only(cx: &mut Cx<'_>) -> Rest {
    let app = &cx.app;
    let plain = |raised: &Raised| match raised {
        Raised::Event { spec, .. } => spec.kind == MessageKind::DomainEvent && app.plan().is_plain(spec),
        Raised::Command(_) => false,
    };
    if cx.unit.is_some() || !cx.events.all(plain) {
        return Rest::More;
    }
    let app = cx.app.clone();
    let nodes: Vec<Node> = cx.events.take().into_iter().map(Node::root).collect();
    app.note_raised(&nodes, false);
    if nodes.iter().all(|node| app.plan().plain_handlers(node).is_empty()) {
        return Rest::Nothing;
    }
    let limit = app.options().event_concurrency;
    let tracker = app.tracker().clone();
    let work = async move { process(&app, nodes, &Cause::new(&app, None), None, limit).await };
    Rest::Plain(Detached::new(tracker, Box::pin(work)))
}

/// Runs one plain handler of an event in a unit of its own; gives the events it raised, already settled.
pub(crate) async fn run_plain_handler(
    app: &App,
    handler: u32,
    node: &Node,
    parent: &Cause,
    scope: Option<&Arc<Scope>>,
) -> Result<Vec<Node>, Failure> {
    let planned = app.planned(handler);
    let Some(event) = node.event() else { return Ok(Vec::new()) };
    let mut cx = if planned.needs_unit || !app.plan().middleware(CallKind::Event).is_empty() {
        Box::pin(run_with_unit(app, handler, event, node.meta(parent), scope.cloned())).await?
    } else {
        let cx = super::handler::context(app, None);
        named(app, handler, call_bare_handler(app, handler, event, cx)).await?
    };
    let raised = cx.events.take();
    if raised.is_empty() {
        return Ok(Vec::new());
    }
    if cx.unit.is_none()
        && let Some(scope) = scope
    {
        let (tx, scope) = (TxSlot::empty(app.store().cloned()), Some(Arc::clone(scope)));
        cx.unit = Some(Box::new(Unit { tx, scope, ..Unit::default() }));
    }
    let what = planned.item.message.name;
    Box::pin(follow_ups(app, raised, node, cx, &node.meta(parent), what)).await
}

/// Counts a handler among those that run from its first wait on: most never wait, and pay nothing.
async fn named<F: Future>(app: &App, handler: u32, call: F) -> F::Output {
    let mut call = std::pin::pin!(call);
    let mut running = None;
    std::future::poll_fn(|cx| {
        let poll = call.as_mut().poll(cx);
        if poll.is_pending() && running.is_none() {
            running = Some(app.running(handler));
        }
        poll
    })
    .await
}

async fn run_with_unit(
    app: &App,
    handler: u32,
    event: Erased,
    meta: Arc<Meta>,
    scope: Option<Arc<Scope>>,
) -> Result<Cx<'static>, Failure> {
    let opening = Opening { meta: Arc::clone(&meta), scope, within: None };
    let unit = open_unit(app, handler, opening).await?;
    let cx = super::handler::context(app, unit);
    call_event_handler(app, handler, event, cx, &meta).await
}

/// Settles what a plain handler raised: its stored parts in a small transaction of their own.
async fn follow_ups(
    app: &App,
    raised: Vec<Raised>,
    node: &Node,
    mut cx: Cx<'_>,
    meta: &Arc<Meta>,
    what: &'static str,
) -> Result<Vec<Node>, Failure> {
    let nodes: Nodes = raised.into_iter().map(|raised| node.follow_up(raised, meta)).collect();
    let cause = Cause::new(app, Some(Arc::clone(meta)));
    let (mut nodes, mut unit) = run_inline(app, nodes, cx.unit.take(), &cause).await?;
    let carried = take_carried(unit.as_mut());
    let (mut tx, _scope) = split(unit);
    let records = records_of(app, &nodes, &cause)?;
    let stored = !records.is_empty();
    if stored && tx.open.is_none() {
        tx.open = Some(begin_tx(app, what).await?);
    }
    if let Some(mut open) = tx.open.take() {
        if stored {
            open.store(records).await?;
        }
        open.commit().await?;
    }
    let stored = stored || !carried.is_empty();
    nodes.extend(carried);
    app.note_raised(&nodes, stored);
    Ok(nodes)
}

/// Undoes a unit that is not to be committed after all.
pub(crate) async fn undo(conclusion: Conclusion<'_>, app: &App) {
    let unit = Unit { tx: conclusion.tx, ..Unit::default() };
    abandon(super::handler::context(app, Some(Box::new(unit)))).await;
}
