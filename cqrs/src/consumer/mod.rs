//! Consumers: they take messages off topics and give each to the handlers of their group.
//!
//! `wire` reads the message, `deliver` gives it to one handler after the other. This file is the loop of one group.
//! A message is settled with the broker when every handler has committed it, stored it for another attempt, or buried it.

mod deliver;
pub(crate) mod wire;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use self::deliver::again;
use crate::Error;
use crate::app::App;
use crate::broker::Delivery;
use crate::broker::driver::{Consumer, Incoming, Receipt, Settlement, Subscription};
use crate::worker::{STORE_PAUSE, Turns};

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

/// The messages a group is busy with, or that wait for their turn: stored ones take turns with them. Receipts stay out of the tasks: whatever becomes of a task, its message is settled,
/// or its key would be stuck for ever.
#[derive(Default)]
struct Jobs {
    running: JoinSet<Settlement>,
    receipts: HashMap<Id, Receipt>,
}

impl Jobs {
    fn start(&mut self, app: &App, group: &'static str, turns: &Turns, receipt: Receipt, delivery: Delivery) {
        let (app, turns, busy) = (app.clone(), turns.clone(), app.tracker().token());
        let job = self.running.spawn(async move {
            let in_turn = async {
                let _turn = turns.wait().await;
                deliver::deliver(&app, group, delivery).await
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
    let mut jobs = Jobs::default();
    loop {
        let room = turns.most.saturating_sub(jobs.running.len());
        tokio::select! {
            () = stop.cancelled() => break,
            Some(ended) = jobs.next() => settle(&mut *consumer, group, vec![ended]).await,
            received = consumer.receive(room), if room > 0 => match received {
                Ok(incoming) => {
                    for Incoming { receipt, delivery } in incoming {
                        jobs.start(&app, group, &turns, receipt, delivery);
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, group, "the broker gives nothing; it is asked again");
                    tokio::time::sleep(STORE_PAUSE).await;
                }
            },
        }
    }
    while let Some(ended) = jobs.next().await {
        settle(&mut *consumer, group, vec![ended]).await;
    }
    consumer.close().await;
}

async fn settle(consumer: &mut dyn Consumer, group: &str, settled: Vec<(Receipt, Settlement)>) {
    if let Err(error) = consumer.settle(settled).await {
        tracing::warn!(%error, group, "the broker could not be told; it will deliver again, and the inbox will notice");
    }
}
