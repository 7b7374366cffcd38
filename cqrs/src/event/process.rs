//! Plain handlers after the commit: level by level, so that the order is breadth-first whatever runs at once.

use std::sync::Arc;

use futures_util::StreamExt;

use super::error::{EventError, EventErrors};
use super::node::{Cause, Node};
use crate::app::App;
use crate::dispatch::{DispatchError, Failure, caught, run_plain_handler};
use crate::inject::Scope;
use crate::store::driver::BoxFuture;

/// Runs the plain handlers of events, and of the events those raise, at most `limit` at once.
///
/// One level's handlers end before the next level's begin: what runs together never changes what runs after what.
pub(crate) async fn process(
    app: &App,
    mut level: Vec<Node>,
    parent: &Cause,
    scope: Option<Arc<Scope>>,
    limit: usize,
) -> Result<(), Failure> {
    // Where the call itself asked for nothing message-scoped, the handlers after it share one value all the same.
    let scope =
        scope.or_else(|| (!app.plan().scoped.is_empty()).then(|| Arc::new(Scope::new(Arc::clone(parent.meta())))));
    let mut first_failure = None;
    while !level.is_empty() {
        if let Some(failure) = too_deep(app, &level) {
            return Err(failure);
        }
        let mut next = Vec::new();
        let mut note = |handler, node, result: Result<Vec<Node>, Failure>| match result {
            Ok(follow_ups) => next.extend(follow_ups),
            Err(failure) => {
                if let Some(failure) = report(app, handler, node, failure) {
                    first_failure.get_or_insert(failure);
                }
            }
        };
        if limit <= 1 {
            for node in &level {
                for handler in app.plan().plain_handlers(node) {
                    note(*handler, node, run_plain_handler(app, *handler, node, parent, scope.as_ref()).await);
                }
            }
        } else {
            let jobs = jobs(app, &level, parent, scope.as_ref());
            let mut results = futures_util::stream::iter(jobs).buffered(limit);
            while let Some((handler, node, result)) = results.next().await {
                note(handler, node, result);
            }
        }
        level = next;
    }
    first_failure.map_or(Ok(()), Err)
}

/// Judges how deep a level is. What is cut off here is lost: it is reported like a failed handler, and fails the call.
fn too_deep(app: &App, level: &[Node]) -> Option<Failure> {
    let (node, handler) = level.iter().find_map(|node| Some((node, app.plan().plain_handlers(node).first()?)))?;
    let failure = node.check_depth(app).err()?;
    report(app, *handler, node, failure)
}

type Job<'j> = BoxFuture<'j, (u32, &'j Node, Result<Vec<Node>, Failure>)>;

/// The handlers of a level. Boxed: a level holds as many futures as it has handlers.
fn jobs<'j>(app: &'j App, level: &'j [Node], parent: &'j Cause, scope: Option<&'j Arc<Scope>>) -> Vec<Job<'j>> {
    let mut jobs: Vec<Job<'j>> = Vec::new();
    for node in level {
        for handler in app.plan().plain_handlers(node) {
            jobs.push(Box::pin(async move {
                (*handler, node, run_plain_handler(app, *handler, node, parent, scope).await)
            }));
        }
    }
    jobs
}

/// Logs and counts a failed handler, hands it to the app; gives the failure where the call is to fail with it.
fn report(app: &App, handler: u32, node: &Node, failure: Failure) -> Option<Failure> {
    let item = &app.planned(handler).item;
    let event = node.spec().name;
    let depth = matches!(failure, DispatchError::EventDepth { .. });
    let error = EventError::new(event, item.name, failure);
    // What panics here comes after the commit: it must neither stop the other handlers nor pass for a failed attempt.
    let text = caught(|| error.chain()).unwrap_or_else(|panic| format!("its error could not be shown: {panic}"));
    tracing::error!(event, handler = item.name, error = text, "an event handler failed");
    if let Err(panic) = caught(|| app.note_event_error(&error)) {
        tracing::error!(
            event,
            handler = item.name,
            panic,
            "the listener of `on_event_error` panicked; everything else goes on"
        );
    }
    match app.options().event_errors {
        _ if depth => Some(error.into_failure()),
        EventErrors::Fail => Some(error.into_failure()),
        EventErrors::Log => None,
    }
}
