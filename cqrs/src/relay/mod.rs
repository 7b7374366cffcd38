//! The relay: the loop that claims outbox rows, publishes them and settles them.
//!
//! [`pace`] decides when to claim and how much, [`judge`] what becomes of a row, [`lanes`] which row waits for an earlier one,
//! [`ledger`] knows which claims are held; all four are pure. [`engine`] is the loop around them. No store transaction is open while the broker is waited for: a row is
//! claimed with a lease, the lease is renewed while the broker takes its time, and the row is settled afterwards.
//!
//! What publishes reaches the broker at least once: a claim that runs out before it is settled is published again by
//! whoever claims the row next, with the same id.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use self::engine::Engine;
use crate::clock::Clock;
use crate::retry::RetryPolicy;
use crate::{broker, store};

mod engine;
mod judge;
mod lanes;
mod ledger;
mod pace;
#[cfg(test)]
pub(crate) mod tests;

/// How the relay works.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RelaySettings {
    /// At most so many rows a claim; the first ones are smaller, and those of large rows.
    pub(crate) batch: usize,
    /// At most so many batches of the present size that are claimed and not settled.
    pub(crate) in_flight: usize,
    /// How long what was published is kept, if at all.
    pub(crate) keeps_for: Option<Duration>,
    /// How long a claim holds unless it is renewed.
    pub(crate) lease: Duration,
    /// The largest row that is published, in bytes, as it goes over the wire; a larger one is a dead letter.
    pub(crate) payload_limit: usize,
    /// The pause after the first empty claim; it doubles with each further one.
    pub(crate) poll_first: Duration,
    /// The longest pause between two claims while nobody wakes the relay.
    pub(crate) poll_ceiling: Duration,
    /// The pauses while the broker cannot be reached. How often it is tried is not limited: the row is sound.
    pub(crate) retry: RetryPolicy,
    /// How long what is in flight is waited for when the relay stops.
    pub(crate) shutdown_timeout: Duration,
}

impl Default for RelaySettings {
    fn default() -> Self {
        Self {
            batch: 2_000,
            in_flight: 4,
            keeps_for: None,
            lease: Duration::from_secs(5),
            payload_limit: 1024 * 1024,
            poll_first: Duration::from_millis(50),
            poll_ceiling: Duration::from_secs(1),
            retry: RetryPolicy::OUTAGE,
            shutdown_timeout: Duration::from_secs(30),
        }
    }
}

/// Publishes what the outbox holds, until it is stopped.
pub(crate) struct Relay {
    pub(crate) store: Arc<dyn store::driver::Driver>,
    pub(crate) broker: Arc<dyn broker::driver::Driver>,
    pub(crate) clock: Arc<Clock>,
    /// The instance. The relay claims as `{owner}/relay` and a number that no other has: a store releases by owner, and the
    /// workers' release must not touch what the relay is still publishing. One that begins anew knows nothing of what it held
    /// before, and must not be given what comes behind that.
    pub(crate) owner: String,
    /// Told directly after a commit that stored outbox rows.
    pub(crate) wake: Arc<Notify>,
    pub(crate) settings: RelaySettings,
}

impl Relay {
    /// Runs until `stop`, then waits for what is in flight, at most for the shutdown timeout, and hands back the rest.
    /// Dropped earlier, it hands back nothing: the leases run out.
    pub(crate) async fn run(self, stop: CancellationToken) {
        Engine::new(self).run(stop).await;
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay").field("owner", &self.owner).field("settings", &self.settings).finish_non_exhaustive()
    }
}
