//! Consumers: they take messages off topics and give each to the handlers of their group.
//!
//! `crate::wire` reads the message, `deliver` gives it to one handler after the other. This file is the loop of one group.
//! A message is settled with the broker when every handler has committed it, stored it for another attempt, or buried it.

mod deliver;
mod receive;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::task::{Id, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use self::deliver::again;
use crate::Error;
use crate::app::App;
use crate::broker::Delivery;
use crate::broker::driver::{Consumer, Incoming, Receipt, Settlement, Subscription};
use crate::retry::{RetryPolicy, random};
#[doc(no_inline)]
pub(crate) use crate::wire;
use crate::worker::Turns;

/// Subscribes every group that the app runs, and starts their loops.
pub(crate) async fn start(
    app: &App,
    turns: &BTreeMap<&'static str, Turns>,
    parts: &TaskTracker,
    stop: &CancellationToken,
) -> Result<(), Error> {
    let Some(broker) = app.broker().cloned() else { return Ok(()) };
    for (name, group) in &app.plan().groups {
        if !app.options().runs(&format!("group:{name}")) {
            continue;
        }
        let Some(turns) = turns.get(name).cloned() else { continue };
        let topics: BTreeSet<String> = group.topics.iter().cloned().collect();
        let subscription = Subscription {
            group: (*name).to_owned(),
            topics: topics.into_iter().collect(),
            prefetch: turns.most.saturating_mul(2),
        };
        let consumer = broker.subscribe(subscription).await?;
        parts.spawn(run(app.clone(), name, consumer, turns, stop.clone()));
    }
    Ok(())
}

/// The messages a group is busy with, or that wait for their turn: stored ones take turns with them.
struct Jobs {
    app: App,
    group: &'static str,
    turns: Turns,
    stop: CancellationToken,
    running: JoinSet<Settlement>,
    /// Out of the tasks: whatever becomes of a task, its message is settled, or its key would be stuck for ever.
    receipts: HashMap<Id, Receipt>,
    /// How many messages in a row could be neither handled nor stored.
    failures: Arc<AtomicU32>,
}

impl Jobs {
    fn room(&self) -> usize {
        self.turns.most.saturating_sub(self.running.len())
    }

    fn start(&mut self, receipt: Receipt, delivery: Delivery) {
        let (app, group, turns, stop) = (self.app.clone(), self.group, self.turns.clone(), self.stop.clone());
        let (failures, busy) = (Arc::clone(&self.failures), app.tracker().token());
        let job = self.running.spawn(async move {
            let in_turn = async {
                let turn = turns.wait().await;
                let settlement = deliver::deliver(&app, group, delivery).await;
                // The pause takes nobody's turn.
                drop(turn);
                if settlement == Settlement::Return {
                    let failed = failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
                    let pause = RetryPolicy::OUTAGE.pause(failed, random());
                    let _ = stop.run_until_cancelled(tokio::time::sleep(pause)).await;
                } else {
                    failures.store(0, Ordering::Relaxed);
                }
                settlement
            };
            let settlement = app.give_up().run_until_cancelled(in_turn).await;
            drop(busy);
            settlement.unwrap_or(Settlement::Return)
        });
        self.receipts.insert(job.id(), receipt);
    }

    /// Waits for one to end. Cancel-safe; `None` where there is none.
    async fn next(&mut self) -> Option<(Receipt, Settlement)> {
        let (id, settlement) = match self.running.join_next_with_id().await? {
            Ok(ended) => ended,
            Err(error) => (error.id(), Settlement::Return),
        };
        self.receipts.remove(&id).map(|receipt| (receipt, settlement))
    }
}

async fn run(app: App, group: &'static str, mut consumer: Box<dyn Consumer>, turns: Turns, stop: CancellationToken) {
    let (running, receipts, failures) = (JoinSet::new(), HashMap::new(), Arc::default());
    let mut jobs = Jobs { app, group, turns, stop: stop.clone(), running, receipts, failures };
    // How often in a row the broker gave an error, and when it is asked again.
    let (mut failed, mut again) = (0_u32, None);
    loop {
        let room = jobs.room();
        tokio::select! {
            () = stop.cancelled() => break,
            Some(ended) = jobs.next() => settle(&mut *consumer, group, vec![ended]).await,
            () = moment(again) => again = None,
            received = consumer.receive(room), if room > 0 && again.is_none() => match received {
                Ok(incoming) => {
                    failed = 0;
                    for Incoming { receipt, delivery } in incoming {
                        jobs.start(receipt, delivery);
                    }
                }
                Err(error) => {
                    failed = failed.saturating_add(1);
                    let pause = RetryPolicy::OUTAGE.pause(failed, random());
                    tracing::warn!(%error, group, ?pause, "the broker gives nothing; it is asked again");
                    again = Some(Instant::now() + pause);
                }
            },
        }
    }
    while let Some(ended) = jobs.next().await {
        settle(&mut *consumer, group, vec![ended]).await;
    }
    consumer.close().await;
}

/// Waits for a moment; for ever where there is none.
async fn moment(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

async fn settle(consumer: &mut dyn Consumer, group: &str, settled: Vec<(Receipt, Settlement)>) {
    if let Err(error) = consumer.settle(settled).await {
        tracing::warn!(%error, group, "the broker could not be told; it will deliver again, and the inbox will notice");
    }
}

#[cfg(test)]
mod tests;
