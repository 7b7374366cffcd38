//! A store that cannot be reached is asked again: that is no fault of a saga's.

use std::time::Duration;

use crate::error::chain;
use crate::store::StoreError;
use crate::store::driver::BoxFuture;

/// The pause before it is asked again.
const PAUSE: Duration = Duration::from_millis(200);

/// Waits until a store that cannot be reached may be asked again.
pub(super) async fn pause() {
    tokio::time::sleep(PAUSE).await;
}

/// Asks until the store answers, or fails otherwise than by being away. Every saga and all who wait for one ask: that the store is away
/// the worker that claims says aloud.
pub(super) async fn answered<'a, T>(
    mut ask: impl FnMut() -> BoxFuture<'a, Result<T, StoreError>>,
) -> Result<T, StoreError> {
    loop {
        match ask().await {
            Err(error) if error.is_retryable() => {
                tracing::debug!(error = chain(&error), "what is stored of a saga cannot be reached; it is tried again");
                pause().await;
            }
            answer => return answer,
        }
    }
}
