//! Plain handlers after the commit: level by level, so that the order is breadth-first whatever runs at once.

use std::sync::Arc;

use futures_util::StreamExt;

use super::error::{EventError, EventErrors};
use super::node::Node;
use crate::app::App;
use crate::dispatch::{DispatchError, Failure, run_plain_handler};
use crate::inject::Scope;
use crate::store::driver::BoxFuture;
use crate::unit::Meta;

/// Runs the plain handlers of events, and of the events those raise, at most `limit` at once.
///
/// One level's handlers end before the next level's begin: what runs together never changes what runs after what.
pub(crate) async fn process(
    app: &App,
    mut level: Vec<Node>,
    parent: &Arc<Meta>,
    scope: Option<Arc<Scope>>,
    limit: usize,
) -> Result<(), Failure> {
    let mut first_failure = None;
    while !level.is_empty() {
        if let Some(node) = level.iter().find(|node| !app.plan().plain_handlers(node).is_empty()) {
            node.check_depth(app)?;
        }
        let jobs: Vec<(u32, &Node)> = level
            .iter()
            .flat_map(|node| app.plan().plain_handlers(node).iter().map(move |handler| (*handler, node)))
            .collect();
        let results = run_level(app, &jobs, parent, scope.as_ref(), limit).await;
        let mut next = Vec::new();
        for ((handler, node), result) in jobs.iter().zip(results) {
            match result {
                Ok(follow_ups) => next.extend(follow_ups),
                Err(failure) => {
                    if let Some(failure) = report(app, *handler, node, failure) {
                        first_failure.get_or_insert(failure);
                    }
                }
            }
        }
        level = next;
    }
    first_failure.map_or(Ok(()), Err)
}

async fn run_level(
    app: &App,
    jobs: &[(u32, &Node)],
    parent: &Arc<Meta>,
    scope: Option<&Arc<Scope>>,
    limit: usize,
) -> Vec<Result<Vec<Node>, Failure>> {
    if limit <= 1 || jobs.len() <= 1 {
        let mut results = Vec::with_capacity(jobs.len());
        for job in jobs {
            results.push(run_job(app, *job, parent, scope).await);
        }
        return results;
    }
    let futures: Vec<_> = jobs.iter().map(|job| run_job(app, *job, parent, scope)).collect();
    futures_util::stream::iter(futures).buffered(limit).collect().await
}

/// Boxed: a level holds as many of these as it has handlers, and the compiler need not look inside.
fn run_job<'j>(
    app: &'j App,
    (handler, node): (u32, &'j Node),
    parent: &'j Arc<Meta>,
    scope: Option<&Arc<Scope>>,
) -> BoxFuture<'j, Result<Vec<Node>, Failure>> {
    Box::pin(run_plain_handler(app, handler, node, parent, scope.cloned()))
}

/// Logs and counts a failed handler, hands it to the app; gives the failure where the call is to fail with it.
fn report(app: &App, handler: u32, node: &Node, failure: Failure) -> Option<Failure> {
    let item = &app.planned(handler).item;
    let event = node.spec().name;
    let depth = matches!(failure, DispatchError::EventDepth { .. });
    let error = EventError::new(event, item.name, failure);
    tracing::error!(event, handler = item.name, error = %error.chain(), "an event handler failed");
    app.note_event_error(&error);
    match app.options().event_errors {
        _ if depth => Some(error.into_failure()),
        EventErrors::Fail => Some(error.into_failure()),
        EventErrors::Log => None,
    }
}
