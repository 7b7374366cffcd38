//! A policy as a running app uses it.

use std::sync::Arc;
use std::time::Duration;

use crate::breaker::Breaker;
use crate::retry::RetryPolicy;

/// A policy as a running app uses it.
#[derive(Debug, Default)]
pub(crate) struct PlannedPolicy {
    pub(crate) timeout: Option<Duration>,
    pub(crate) retry: Option<RetryPolicy>,
    pub(crate) breaker: Option<Arc<Breaker>>,
    /// The fallback's number in the plan.
    pub(crate) fallback: Option<u32>,
}

impl PlannedPolicy {
    /// Whether something may run after a failed attempt, which must not see what that left.
    pub(crate) fn goes_on(&self) -> bool {
        self.fallback.is_some() || self.retry.is_some_and(|retry| retry.max > 1)
    }
}
