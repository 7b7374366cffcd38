//! What an attribute says about the attempts at its handler.

use std::time::Duration;

use crate::breaker::BreakerOptions;
use crate::registry::RetryOptions;

/// What an attribute says about the attempts at its handler.
#[derive(Debug, Clone, Copy, Default)]
pub struct Policy {
    /// How long one attempt may take; in a stream, how long the wait for one item.
    pub timeout: Option<Duration>,
    /// Attempts within the call. Of handlers whose work is stored the store keeps them, and this is `None`.
    pub retry: Option<RetryOptions>,
    /// The circuit breaker before the first attempt.
    pub breaker: Option<BreakerOptions>,
}

/// A handler with a policy.
pub trait HasPolicy: 'static {
    /// The policy.
    const POLICY: Policy;
}
