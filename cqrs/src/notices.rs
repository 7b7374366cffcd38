//! Notices between processes: what one has stored, the others need not find by polling.
//!
//! [`Announcer`] tells them, [`listen`] rings the bell of this process for what they tell. It also tells itself something now and
//! then: a pooler between the process and the database may take LISTEN and deliver nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use futures_core::stream::BoxStream;
use futures_util::StreamExt;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::store::StoreError;
use crate::store::driver::Notices;
use crate::supervise::Failures;

/// How long nothing more is told after a word.
const PAUSE: Duration = Duration::from_millis(50);
/// How often it is tested whether words arrive, and how soon it is tried again where they do not.
const BETWEEN_TESTS: Duration = Duration::from_mins(1);
/// How long a word of one's own may be under way.
const PATIENCE: Duration = Duration::from_secs(10);
/// What a test's words begin with: they are nobody else's business.
const TEST: &str = "test ";

const IDLE: u8 = 0;
const TOLD: u8 = 1;
const TO_TELL: u8 = 2;

/// Tells other processes that something was stored here: at once, and then once for all that was stored within a pause.
pub(crate) struct Announcer {
    notices: Arc<dyn Notices>,
    /// This process.
    me: String,
    state: AtomicU8,
}

impl Announcer {
    pub(crate) fn new(notices: Arc<dyn Notices>, me: &str) -> Arc<Self> {
        Arc::new(Self { notices, me: me.to_owned(), state: AtomicU8::new(IDLE) })
    }

    /// Something was stored.
    pub(crate) fn note_stored(self: &Arc<Self>, tracker: &TaskTracker) {
        if self.state.swap(TO_TELL, Ordering::AcqRel) == IDLE {
            let announcer = Arc::clone(self);
            tracker.spawn(async move { announcer.tell().await });
        }
    }

    async fn tell(&self) {
        let is_told = || self.state.compare_exchange(TOLD, IDLE, Ordering::AcqRel, Ordering::Acquire).is_ok();
        loop {
            self.state.store(TOLD, Ordering::Release);
            if let Err(error) = self.notices.announce(self.me.clone()).await {
                tracing::warn!(%error, "other processes were not told that something was stored: they find it by polling");
            }
            sleep(PAUSE).await;
            if is_told() {
                return;
            }
        }
    }
}

/// Why nothing is heard.
#[derive(Debug)]
enum Deaf {
    /// What is told does not arrive.
    Silent,
    Failed(StoreError),
}

impl From<StoreError> for Deaf {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

/// Rings the bell whenever another process tells that it has stored something, until `stop`.
pub(crate) async fn listen(notices: &dyn Notices, me: &str, bell: &Notify, stop: &CancellationToken) {
    let mut ear = Ear { notices, me, bell, failures: Failures::default(), is_deaf: false };
    loop {
        let since = Instant::now();
        let Some(deaf) = stop.run_until_cancelled(ear.attend()).await else { return };
        let pause = ear.complain(&deaf, since.elapsed());
        if stop.run_until_cancelled(sleep(pause)).await.is_none() {
            return;
        }
    }
}

struct Ear<'a> {
    notices: &'a dyn Notices,
    me: &'a str,
    bell: &'a Notify,
    failures: Failures,
    /// Whether nothing was heard at last, and that was said.
    is_deaf: bool,
}

type Words = BoxStream<'static, Result<String, StoreError>>;

impl Ear<'_> {
    /// Listens for as long as words arrive.
    async fn attend(&mut self) -> Deaf {
        match self.try_attend().await {
            Ok(never) => match never {},
            Err(deaf) => deaf,
        }
    }

    async fn try_attend(&mut self) -> Result<std::convert::Infallible, Deaf> {
        let mut words = self.notices.listen().await?;
        loop {
            let test = format!("{TEST}{}", Uuid::now_v7());
            self.notices.announce(test.clone()).await?;
            if !self.hear(&mut words, Some(&test), PATIENCE).await? {
                return Err(Deaf::Silent);
            }
            if std::mem::take(&mut self.is_deaf) {
                tracing::info!("what other processes store is told to this one again");
            }
            // Nobody listened meanwhile.
            self.bell.notify_waiters();
            self.hear(&mut words, None, BETWEEN_TESTS).await?;
        }
    }

    /// Hears what there is, for so long or until a word. Gives whether that has come.
    async fn hear(&self, words: &mut Words, until: Option<&str>, during: Duration) -> Result<bool, Deaf> {
        let end = Instant::now() + during;
        while let Ok(word) = timeout_at(end, words.next()).await {
            let word = word.ok_or(Deaf::Silent)??;
            if until == Some(&word) {
                return Ok(true);
            }
            if word != self.me && !word.starts_with(TEST) {
                self.bell.notify_waiters();
            }
        }
        Ok(false)
    }

    /// Says why nothing is heard after it was listened for so long, and gives how long to wait before it is tried again.
    fn complain(&mut self, deaf: &Deaf, listened: Duration) -> Duration {
        let was_deaf = std::mem::replace(&mut self.is_deaf, true);
        match deaf {
            Deaf::Silent if was_deaf => BETWEEN_TESTS,
            Deaf::Silent => {
                tracing::warn!(
                    "a notice of this process does not come back to it: what other processes store is found by polling; help: a pooler that lends connections for one transaction delivers none (PgBouncer's `pool_mode = transaction`): give the store a URL past it, or leave `notify` away"
                );
                BETWEEN_TESTS
            }
            Deaf::Failed(error) => {
                let pause = self.failures.pause(listened);
                tracing::warn!(%error, ?pause, "notices are not heard: what other processes store is found by polling");
                pause
            }
        }
    }
}

#[cfg(test)]
mod tests;
