//! What has to be swept now and then: inbox marks past their window.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::store::driver::Driver;

/// How often it is swept. Every instance sweeps: what one has deleted the next does not find.
const EVERY: Duration = Duration::from_mins(10);

pub(super) async fn run(app: App, store: Arc<dyn Driver>, stop: CancellationToken) {
    let window = app.options().inbox_window;
    loop {
        let Some(before) = app.clock().now().checked_sub(window) else { return };
        match store.purge_inbox(before).await {
            Ok(0) => {}
            Ok(purged) => tracing::debug!(purged, "inbox marks past their window are gone"),
            Err(error) => tracing::warn!(%error, "the inbox could not be swept; it is tried again"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}
