//! A member of a group: it beats, owns slots, writes down how far they are done, and leaves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::kv::Store;
use futures_util::future::join_all;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::link::{Link, Made, cause, unavailable};
use super::reader;
use super::records::{self, Record, Written};
use super::shared::Shared;
use super::slot::Progress;
use super::table::{SlotId, Standing, Table, Watch};
use crate::broker::BrokerError;
use crate::broker::driver::Subscription;
use crate::supervise::supervised;

/// How often a member beats.
const BEAT: Duration = Duration::from_secs(1);
/// How long a member that is not heard of keeps what it owns.
const LEASE: Duration = Duration::from_secs(5);
/// How much earlier it stops handing out what it owns, by its own clock.
const MARGIN: Duration = Duration::from_millis(500);
/// How long a beat may take: the next one has to come within the lease.
const PATIENCE: Duration = Duration::from_secs(2);
/// What was settled is written down together with what is settled within so long after it.
const GATHER: Duration = Duration::from_millis(50);
/// How often a write is tried again where others were faster.
const ATTEMPTS: u32 = 8;
/// How long leaving may take.
const FAREWELL: Duration = Duration::from_secs(5);

/// A slot that the member owns.
struct Owned {
    reader: JoinHandle<()>,
    key: String,
    stream: i64,
    revision: u64,
    /// What was written last.
    written: Progress,
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

pub(super) struct Member {
    link: Arc<Link>,
    shared: Arc<Shared>,
    subscription: Subscription,
    id: String,
    store: Option<Store>,
    owned: BTreeMap<SlotId, Owned>,
    watch: Watch,
}

impl Member {
    pub(super) fn new(link: Arc<Link>, shared: Arc<Shared>, subscription: Subscription) -> Self {
        let id = Uuid::now_v7().simple().to_string();
        Self { link, shared, subscription, id, store: None, owned: BTreeMap::new(), watch: Watch::default() }
    }

    /// Joins the group: sees to the topics, and beats for the first time.
    pub(super) async fn join(&mut self) -> Result<(), BrokerError> {
        for topic in &self.subscription.topics {
            self.link.topic(topic).await?;
        }
        self.store = Some(self.link.bucket().await?);
        self.beat().await
    }

    /// Takes part until it is told to stop; then leaves.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut next = Instant::now() + if self.store.is_some() { BEAT } else { Duration::ZERO };
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = sleep_until(next) => {
                    next = Instant::now() + BEAT;
                    self.take_part().await;
                }
                () = self.shared.settled.notified() => {
                    sleep(GATHER).await;
                    self.write_down().await;
                }
            }
        }
        self.shared.close();
        if timeout(FAREWELL, self.leave()).await.is_err() {
            tracing::warn!(
                group = self.subscription.group,
                "NATS does not answer; what a member owned is free after its lease"
            );
        }
    }

    /// Joins, or beats. What cannot be reached is tried again; what is wrong is said to whoever receives.
    async fn take_part(&mut self) {
        let joined = if self.store.is_some() { self.beat().await } else { self.join().await };
        if let Err(error) = joined {
            tracing::warn!(%error, cause = cause(&error), group = self.subscription.group, "a member of a group cannot reach NATS");
            if !error.is_retryable() {
                self.shared.fail(error);
            }
        }
        // What could not be written down before.
        self.write_down().await;
    }

    async fn beat(&mut self) -> Result<(), BrokerError> {
        let begun = Instant::now();
        let beat = timeout(PATIENCE, self.write_table(begun)).await;
        let standing = beat.map_err(|_| unavailable("NATS does not answer in time"))??;
        self.owned.retain(|id, _| {
            let is_mine = standing.mine.contains(id) && self.shared.last_read(id).is_some();
            if !is_mine {
                self.shared.lose(id);
            }
            is_mine
        });
        self.shared.shed(|id| standing.shed.contains(id));
        self.shared.sure(begun + LEASE.saturating_sub(MARGIN));
        let missing: Vec<_> = standing.mine.iter().filter(|id| !self.owned.contains_key(*id)).cloned().collect();
        let takes = missing.into_iter().map(|id| timeout(PATIENCE, self.take(id)));
        // Each by itself: one that is slow or fails takes none of the others along.
        let mut failed = Ok(());
        let answers: Vec<_> = join_all(takes).await;
        for taken in answers {
            match taken.unwrap_or_else(|_| Err(unavailable("NATS does not answer in time"))) {
                Ok((id, owned)) => drop(self.owned.insert(id, owned)),
                Err(error) => failed = Err(error),
            }
        }
        failed
    }

    /// Changes the group's table.
    async fn write_table(&mut self, now: Instant) -> Result<Standing, BrokerError> {
        let store = self.store.clone().ok_or_else(|| unavailable("the group was not joined"))?;
        let freed = self.give_up(&store).await;
        let key = records::table(&self.subscription.group);
        for attempt in 0..ATTEMPTS {
            let (table, revision) = records::read::<Table>(&store, &key).await?;
            let mut table = table.unwrap_or_default();
            let dead = self.watch.look(&table, &self.id, now, BEAT, LEASE);
            for member in &dead {
                tracing::warn!(
                    member,
                    group = self.subscription.group,
                    "a member of a group is silent; what it owned is free"
                );
            }
            let standing = table.beat(&self.id, &self.subscription.topics, self.link.slots(), &dead, &freed);
            if let Written::Stands(_) = records::write(&store, &key, &table, revision).await? {
                return Ok(standing);
            }
            sleep(Duration::from_millis(2 << attempt).mul_f64(crate::retry::random())).await;
        }
        Err(unavailable("too many members write the table of the group at once"))
    }

    /// Writes down how far the slots are that are to be given up. Gives those that can be.
    async fn give_up(&mut self, store: &Store) -> Vec<SlotId> {
        let mut freed = Vec::new();
        for id in self.shared.idle() {
            let Some(progress) = self.shared.progress(&id) else { continue };
            let Some(owned) = self.owned.get_mut(&id) else { continue };
            match owned.write(store, &self.id, progress).await {
                Ok(_) => freed.push(id),
                Err(error) => tracing::debug!(%error, "a slot is given up later"),
            }
        }
        freed
    }

    /// Takes a slot over: from here on its former owner cannot write.
    async fn take(&self, id: SlotId) -> Result<(SlotId, Owned), BrokerError> {
        let store = self.store.as_ref().ok_or_else(|| unavailable("the group was not joined"))?;
        let (topic, slot) = &id;
        let key = records::slot(&self.subscription.group, topic, *slot);
        let (_, stream) = self.link.stream(topic).await?;
        for _ in 0..ATTEMPTS {
            let (record, revision) = records::read::<Record>(store, &key).await?;
            let progress = from(record, stream, &id, &self.subscription.group);
            let record = Record { owner: self.id.clone(), stream: stream.made, progress: progress.clone() };
            let Written::Stands(revision) = records::write(store, &key, &record, revision).await? else { continue };
            self.shared.own(id.clone(), progress.clone());
            let reader = tokio::spawn(read(Arc::clone(&self.link), Arc::clone(&self.shared), id.clone(), stream.made));
            return Ok((id, Owned { reader, key, stream: stream.made, revision, written: progress }));
        }
        Err(unavailable(format!("the record `{key}` is written by others")))
    }

    /// Writes down how far every slot is done that has changed. Whether nothing is left to be written down.
    async fn write_down(&mut self) -> bool {
        let Some(store) = self.store.clone() else { return true };
        let (shared, me) = (&self.shared, &self.id);
        let changed = self.owned.iter_mut().filter_map(|(id, owned)| {
            let progress = shared.progress(id)?;
            (progress != owned.written).then_some((id, owned, progress))
        });
        let writes = changed.map(|(id, owned, progress)| {
            let store = &store;
            async move {
                let written = timeout(BEAT, owned.write(store, me, progress)).await;
                let written = written.unwrap_or_else(|_| Err(unavailable("NATS does not answer in time")));
                (id.clone(), written)
            }
        });
        let mut all = true;
        for (id, written) in join_all(writes).await {
            match written {
                Ok(true) => {}
                Ok(false) => {
                    self.shared.lose(&id);
                    self.owned.remove(&id);
                }
                Err(error) => {
                    tracing::debug!(%error, "how far a slot is done is written down later");
                    all = false;
                }
            }
        }
        all
    }

    async fn leave(&mut self) {
        let Some(store) = self.store.clone() else { return };
        // What is not written down others handle again: once more, for as long as there is time.
        while !self.write_down().await {
            sleep(GATHER).await;
        }
        self.owned.clear();
        let key = records::table(&self.subscription.group);
        for _ in 0..ATTEMPTS {
            let Ok((Some(mut table), revision)) = records::read::<Table>(&store, &key).await else { return };
            table.leave(&self.id);
            match records::write(&store, &key, &table, revision).await {
                Ok(Written::Stands(_)) => return,
                Ok(Written::Overtaken) => {}
                Err(error) => {
                    tracing::debug!(%error, "a member could not leave its group");
                    return;
                }
            }
        }
    }
}

impl Owned {
    /// Writes down how far the slot is done; whether it is still the member's.
    async fn write(&mut self, store: &Store, me: &str, progress: Progress) -> Result<bool, BrokerError> {
        let record = Record { owner: me.to_owned(), stream: self.stream, progress };
        for _ in 0..ATTEMPTS {
            if let Written::Stands(revision) = records::write(store, &self.key, &record, self.revision).await? {
                self.revision = revision;
                self.written = record.progress;
                return Ok(true);
            }
            // A write whose answer was lost is our own.
            let (last, revision) = records::read::<Record>(store, &self.key).await?;
            if last.is_none_or(|last| last.owner != me) {
                return Ok(false);
            }
            self.revision = revision;
        }
        Err(unavailable(format!("the record `{}` is written by others", self.key)))
    }
}

/// Reads a slot; begun anew, it goes on behind what came.
async fn read(link: Arc<Link>, shared: Arc<Shared>, id: SlotId, made: i64) {
    let (what, stop) = (format!("the reader of slot {} of `{}`", id.1, id.0), CancellationToken::new());
    supervised(&what, &stop, || reader::read(Arc::clone(&link), Arc::clone(&shared), id.clone(), made)).await;
}

/// Where a slot is read from on.
fn from(record: Option<Record>, stream: Made, (topic, slot): &SlotId, group: &str) -> Progress {
    let Some(record) = record else { return Progress::default() };
    if record.stream != stream.made {
        tracing::warn!(topic, slot, group, "the stream of a topic was made anew: it is read from its beginning");
        return Progress::default();
    }
    if stream.first > record.progress.position + 1 {
        tracing::warn!(
            topic,
            slot,
            group,
            "messages of a topic were deleted, by age or by hand; the group may not have read them"
        );
    }
    record.progress
}

#[cfg(test)]
mod tests {
    use super::{Made, Progress, Record, from};

    #[test]
    fn a_slot_goes_on_where_it_was_unless_its_stream_is_another() {
        let id = ("t".to_owned(), 0);
        let progress = Progress { position: 7, beyond: [9].into() };
        let record = Record { owner: "m".to_owned(), stream: 1, progress: progress.clone() };
        assert_eq!(from(Some(record.clone()), Made { made: 1, first: 1 }, &id, "g"), progress);
        assert_eq!(from(Some(record.clone()), Made { made: 1, first: 100 }, &id, "g"), progress);
        assert_eq!(from(Some(record), Made { made: 2, first: 1 }, &id, "g"), Progress::default());
        assert_eq!(from(None, Made { made: 1, first: 1 }, &id, "g"), Progress::default());
    }

    #[test]
    fn a_record_can_be_read_by_whoever_comes_later() {
        let record =
            Record { owner: "m".to_owned(), stream: 1, progress: Progress { position: 7, beyond: [9].into() } };
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(text, r#"{"owner":"m","stream":1,"position":7,"beyond":[9]}"#);
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
        let short = serde_json::from_str::<Record>(r#"{"owner":"m","stream":1,"position":7}"#).unwrap();
        assert!(short.progress.beyond.is_empty());
    }
}
