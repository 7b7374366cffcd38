//! Waiting for what happens elsewhere.

use std::time::Duration;

/// Looks until something is so.
///
/// # Panics
/// It is not so within a minute.
pub async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let waited = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_mins(1), waited).await;
    waited.unwrap_or_else(|_| panic!("it did not come to pass within a minute: {what}"));
}
