//! The app's clock: the system's, and an offset that tests move.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::unit::made;

/// Tells the time: every due date and lease of an app comes from its clock.
#[derive(Debug)]
pub(crate) struct Clock {
    begun: Instant,
    ahead_millis: AtomicU64,
    moved: Notify,
}

impl Default for Clock {
    fn default() -> Self {
        Self { begun: Instant::now(), ahead_millis: AtomicU64::default(), moved: Notify::default() }
    }
}

impl Clock {
    /// How long the clock has run. Unlike the time of day it never goes back: what waits within this process goes by it.
    pub(crate) fn steady(&self) -> Duration {
        made::note();
        self.begun.elapsed() + self.ahead()
    }

    pub(crate) fn now(&self) -> SystemTime {
        made::note();
        SystemTime::now() + self.ahead()
    }

    /// How far it is ahead of the system's.
    pub(crate) fn ahead(&self) -> Duration {
        Duration::from_millis(self.ahead_millis.load(Ordering::Acquire))
    }

    /// The time by which leases run. Moving the clock moves what is due and leaves it alone: whoever holds a lease was
    /// not away meanwhile.
    #[expect(clippy::unused_self, reason = "it is the app's clock that is asked, so that nobody reads another one")]
    pub(crate) fn lease_now(&self) -> SystemTime {
        SystemTime::now()
    }

    /// Moves the clock forward, for tests.
    #[cfg_attr(not(any(test, feature = "testing")), expect(dead_code, reason = "only the test kit moves the clock"))]
    pub(crate) fn advance(&self, by: Duration) {
        let millis = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.ahead_millis.fetch_add(millis, Ordering::AcqRel);
        self.moved.notify_waiters();
    }

    /// Waits until a time, or until somebody moves the clock.
    pub(crate) async fn sleep_until(&self, time: SystemTime) {
        let moved = self.moved.notified();
        let Ok(pause) = time.duration_since(self.now()) else { return };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = moved => {}
        }
    }
}
