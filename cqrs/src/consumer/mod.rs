//! Consumers: they take messages off topics and give each to the handlers of their group.
//!
//! `crate::wire` reads the message, `deliver` gives it to one handler after the other, in transactions of their own. Messages come
//! in batches: `batch` says which of them go together, `job` is the work of one batch, `together` the transaction that its
//! messages share, `pace` when the next one begins. This file is the loop of one group.
//! A message is settled with the broker when every handler has committed it, stored it for another attempt, or buried it.

mod batch;
mod deliver;
mod job;
mod jobs;
mod keep;
mod pace;
mod receive;
mod together;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use self::deliver::again;
use self::jobs::Jobs;
pub(crate) use self::keep::hex;
use crate::Error;
use crate::app::{App, Connecting};
use crate::broker::BrokerError;
use crate::broker::driver::{Consumer, Driver, Receipt, Settlement, Subscription};
use crate::error::chain;
use crate::fail_points::{FailPoint, pass};
use crate::retry::{RetryPolicy, random};
use crate::supervise::supervised;
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
    for (&name, group) in &app.plan().groups {
        if !app.options().runs(&format!("group:{name}")) {
            continue;
        }
        let Some(turns) = turns.get(name).cloned() else { continue };
        let topics: BTreeSet<String> = group.topics.iter().cloned().collect();
        let subscription = Subscription {
            group: name.to_owned(),
            topics: topics.into_iter().collect(),
            prefetch: turns.most.saturating_mul(batch_of(app, name).max(2)),
        };
        let (app, turns, stop) = (app.clone(), turns, stop.clone());
        match broker.subscribe(subscription.clone()).await {
            Ok(consumer) => {
                let group = Group { app, name, broker: Arc::clone(&broker), subscription, turns, stop };
                parts.spawn(group.supervised(Begin::Joined(consumer)));
            }
            Err(error) if error.is_retryable() => {
                // Counted from here on: whoever asks how the app feels once it runs is told.
                let begin = Begin::Refused(error, app.connecting());
                let group = Group { app, name, broker: Arc::clone(&broker), subscription, turns, stop };
                parts.spawn(group.supervised(begin));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// A group that the app runs.
struct Group {
    app: App,
    name: &'static str,
    broker: Arc<dyn Driver>,
    subscription: Subscription,
    turns: Turns,
    stop: CancellationToken,
}

/// How the loop of a group begins.
enum Begin {
    Joined(Box<dyn Consumer>),
    /// The broker could not be reached.
    Refused(BrokerError, Connecting),
    /// The loop panicked, and its member has left the group.
    Anew(Connecting),
}

impl Group {
    /// Consumes until it is told to stop. A panic is the driver's, or ours: the group is joined anew.
    async fn supervised(self, begin: Begin) {
        let (group, mut begin) = (&self, Some(begin));
        let what = format!("the loop of the group `{}`", self.name);
        supervised(&what, &self.stop, || {
            let begin = begin.take().unwrap_or_else(|| Begin::Anew(group.app.connecting()));
            group.consume(begin)
        })
        .await;
    }

    async fn consume(&self, begin: Begin) {
        let (consumer, connecting) = match begin {
            Begin::Joined(consumer) => (Some(consumer), None),
            Begin::Refused(error, connecting) => (self.join(Some(error)).await, Some(connecting)),
            Begin::Anew(connecting) => (self.join(None).await, Some(connecting)),
        };
        drop(connecting);
        if let Some(consumer) = consumer {
            run(self.app.clone(), self.name, consumer, self.turns.clone(), self.stop.clone()).await;
        }
    }

    /// Joins the group once that can be; `None` where the app stops before.
    async fn join(&self, error: Option<BrokerError>) -> Option<Box<dyn Consumer>> {
        self.stop.run_until_cancelled(join(&*self.broker, &self.subscription, error)).await
    }
}

/// Joins a group. A broker that cannot be reached is asked again; `error` is what it has said already.
async fn join(broker: &dyn Driver, subscription: &Subscription, mut error: Option<BrokerError>) -> Box<dyn Consumer> {
    let (mut failed, group) = (0_u32, subscription.group.as_str());
    loop {
        let Some(said) = error.take() else {
            match broker.subscribe(subscription.clone()).await {
                Ok(consumer) => {
                    tracing::info!(group, "the group has subscribed");
                    return consumer;
                }
                Err(said) => error = Some(said),
            }
            continue;
        };
        failed = failed.saturating_add(1);
        let pause = RetryPolicy::OUTAGE.pause(failed, random());
        tracing::warn!(error = %said, group, ?pause, "the group cannot subscribe, and consumes nothing until it can; it is tried again");
        tokio::time::sleep(pause).await;
    }
}

/// How many messages of a group share a transaction, at most.
fn batch_of(app: &App, group: &str) -> usize {
    let handlers = app.plan().groups.get(group).into_iter().flat_map(|group| group.handlers.values().flatten());
    let most = app.options().group_batch(group, handlers.map(|(_, options)| *options));
    if job::is_batched(app, group) { most } else { 1 }
}

async fn run(app: App, group: &'static str, mut consumer: Box<dyn Consumer>, turns: Turns, stop: CancellationToken) {
    let mut jobs = Jobs::new(app, group, turns.clone(), stop.clone());
    // How often in a row the broker gave an error, and when it is asked again.
    let (mut failed, mut again) = (0_u32, None);
    let mut line = None;
    loop {
        let start = jobs.starts_at().filter(|_| line.is_none());
        if start.is_some_and(|at| at <= Instant::now()) {
            let turns = turns.clone();
            line = Some(Box::pin(async move { turns.wait().await }));
        }
        let room = jobs.room();
        tokio::select! {
            () = stop.cancelled() => break,
            Some(ended) = jobs.next() => settle(&mut *consumer, group, ended).await,
            turn = in_line(&mut line), if line.is_some() => {
                line = None;
                jobs.start(turn);
            }
            () = moment(start), if line.is_none() => {}
            () = moment(again) => again = None,
            received = consumer.receive(room), if room > 0 && again.is_none() => match received {
                Ok(incoming) => {
                    failed = 0;
                    pass(FailPoint::ConsumerReceived);
                    jobs.push(incoming);
                }
                Err(error) => {
                    failed = failed.saturating_add(1);
                    let pause = RetryPolicy::OUTAGE.pause(failed, random());
                    tracing::warn!(error = chain(&error), group, ?pause, "the broker gives nothing; it is asked again");
                    again = Some(Instant::now() + pause);
                }
            },
        }
    }
    drop(line);
    pass(FailPoint::ConsumerHandingBack);
    // What has not begun is handed back, now and as it is left.
    settle(&mut *consumer, group, jobs.hand_back()).await;
    while let Some(mut ended) = jobs.next().await {
        ended.extend(jobs.hand_back());
        settle(&mut *consumer, group, ended).await;
    }
    consumer.close().await;
}

/// Waits for a turn.
async fn in_line<F: Future + Unpin>(line: &mut Option<F>) -> F::Output {
    match line {
        Some(line) => line.await,
        None => std::future::pending().await,
    }
}

/// Waits for a moment; for ever where there is none.
async fn moment(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

async fn settle(consumer: &mut dyn Consumer, group: &str, settled: Vec<(Receipt, Settlement)>) {
    if settled.is_empty() {
        return;
    }
    pass(FailPoint::ConsumerSettling);
    if let Err(error) = consumer.settle(settled).await {
        tracing::warn!(
            error = chain(&error),
            group,
            "the broker could not be told; it will deliver again, and the inbox will notice"
        );
    }
    pass(FailPoint::ConsumerSettled);
}

#[cfg(test)]
mod tests;
