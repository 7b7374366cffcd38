//! What has to be seen to now and then: inbox marks past their window, published events, idempotency keys, ended sagas and the audit past
//! their retention are swept, and work that nobody takes is named.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::queues;
use crate::app::App;
use crate::dispatch::kept_since;
use crate::error::chain;
use crate::store::WorkQueue;
use crate::store::driver::Driver;

/// How often inbox, published events, idempotency keys and audit are swept. Every instance sweeps: what one has deleted the next does not find.
const SWEEP: Duration = Duration::from_mins(10);

/// How often work that nobody takes is named.
const WARN: Duration = Duration::from_hours(1);

pub(super) async fn run(app: App, store: Arc<dyn Driver>, stop: CancellationToken) {
    let (mut sweep, mut warn) = (app.clock().now(), app.clock().now());
    loop {
        let now = app.clock().now();
        if sweep <= now {
            sweep_inbox(&app, &store).await;
            sweep_published(&app, &store).await;
            sweep_idempotent(&app, &store).await;
            sweep_audit(&app, &store).await;
            sweep_sagas(&app, &store).await;
            sweep = now + SWEEP;
        }
        if warn <= now {
            name_untaken(&app, &store).await;
            free_stranded(&app, &store).await;
            warn = now + WARN;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = app.clock().sleep_until(sweep.min(warn)) => {}
        }
    }
}

async fn sweep_inbox(app: &App, store: &Arc<dyn Driver>) {
    let Some(before) = app.clock().now().checked_sub(app.options().inbox_window) else { return };
    match store.purge_inbox(before).await {
        Ok(0) => {}
        Ok(purged) => tracing::debug!(purged, "inbox marks past their window are gone"),
        Err(error) => tracing::warn!(error = chain(&error), "the inbox could not be swept; it is tried again"),
    }
}

/// Also where nothing is kept any more: what is there says until when.
async fn sweep_published(app: &App, store: &Arc<dyn Driver>) {
    match store.purge_published(app.clock().now()).await {
        Ok(0) => {}
        Ok(purged) => tracing::debug!(purged, "published events past their retention are gone"),
        Err(error) => tracing::warn!(error = chain(&error), "published events could not be swept; it is tried again"),
    }
}

/// What never ended goes by its lease, and so by the clock of leases; it is left as long as if it had been done.
async fn sweep_idempotent(app: &App, store: &Arc<dyn Driver>) {
    let (done, lease) = (kept_since(app, app.clock().now()), kept_since(app, app.clock().lease_now()));
    match store.purge_idempotent(done, lease).await {
        Ok(0) => {}
        Ok(purged) => tracing::debug!(purged, "idempotency keys past their retention are gone"),
        Err(error) => tracing::warn!(error = chain(&error), "idempotency keys could not be swept; it is tried again"),
    }
}

async fn sweep_audit(app: &App, store: &Arc<dyn Driver>) {
    let Some(before) = app.clock().now().checked_sub(app.options().audit_retention) else { return };
    let Some(operations) = store.operations() else { return };
    match operations.purge_audit(before).await {
        Ok(0) => {}
        Ok(purged) => tracing::debug!(purged, "what was done before the audit's retention is forgotten"),
        Err(error) => tracing::warn!(error = chain(&error), "the audit could not be swept; it is tried again"),
    }
}

/// Also where this program has none any more: what there is ends as well.
async fn sweep_sagas(app: &App, store: &Arc<dyn Driver>) {
    let (now, options) = (app.clock().now(), app.options());
    let before = |retention| now.checked_sub(retention);
    let (Some(sagas), Some(ended), Some(came)) =
        (store.sagas(), before(options.saga_retention), before(options.awaited_retention))
    else {
        return;
    };
    match sagas.purge(ended, came).await {
        Ok(0) => {}
        Ok(purged) => tracing::debug!(purged, "sagas that ended before their retention are gone"),
        Err(error) => tracing::warn!(error = chain(&error), "ended sagas could not be swept; it is tried again"),
    }
}

async fn free_stranded(app: &App, store: &Arc<dyn Driver>) {
    match store.free_stranded().await {
        Ok(0) => {}
        Ok(rows) => {
            tracing::warn!(rows, "stored work waited behind rows that are gone, deleted by hand; it goes on");
            app.wake_bell().notify_waiters();
        }
        Err(error) => tracing::warn!(error = chain(&error), "parked work could not be looked at; it is tried again"),
    }
}

/// Says which work waits for a handler or a group that this program lacks: nobody else would notice.
async fn name_untaken(app: &App, store: &Arc<dyn Driver>) {
    let counted = match store.work_by_queue(app.clock().lease_now()).await {
        Ok(counted) => counted,
        Err(error) => {
            return tracing::warn!(error = chain(&error), "stored work could not be counted; it is tried again");
        }
    };
    let known: HashSet<WorkQueue> = queues::known(app.plan()).into_iter().map(|(_, queue)| queue).collect();
    for (queue, rows) in counted.into_iter().filter(|(queue, _)| !known.contains(queue)) {
        tracing::warn!(
            rows,
            kind = queue.kind.as_str(),
            group = queue.group,
            handler = queue.handler,
            "stored work waits for a durable or group handler that this program does not have, or has as another kind; deploy a program that has it"
        );
    }
}

#[cfg(test)]
mod tests;
