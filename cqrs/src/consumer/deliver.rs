//! One message and the handlers of its group.

use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument;

use super::keep::{bury_whole, keep, key_of, lane_of};
use super::wire::{self, Received};
use crate::app::App;
use crate::broker::Delivery;
use crate::broker::driver::Settlement;
use crate::dispatch::{Caught, Failure};
use crate::fail_points::{FailPoint, pass};
use crate::message::Erased;
use crate::registry::{GroupOptions, HandlerItem, OnDead, OnUnknown};
use crate::retry::{Verdict, random};
use crate::store::{Claim, InboxMark, StoreError, StoreErrorKind, WorkKind, WorkRecord};
use crate::worker::{Attempt, Commit, Ended, Trouble, after_breaker, attempt, decode, describe, in_time, meta_of};

/// Gives a message to the handlers of a group, of which one may have failed already in a batch. `Return` only where the store could
/// not even keep it.
pub(super) async fn deliver(app: &App, group: &'static str, delivery: &Delivery, failed: Option<u32>) -> Settlement {
    let span = tracing::debug_span!("deliver", group, topic = delivery.topic);
    let error = match Caught(Box::pin(offer(app, group, delivery, failed))).instrument(span).await {
        Ok(Ok(())) => return Settlement::Done,
        Ok(Err(error)) => error.to_string(),
        Err(panic) => format!("a panic: {panic}"),
    };
    tracing::warn!(
        error,
        group,
        topic = delivery.topic,
        "a message could be neither handled nor stored; it is handed back"
    );
    Settlement::Return
}

/// Tries a message again that was kept whole, because it could not be read or no handler took it, or for a handler that
/// takes another version of it: it is offered to the group anew, by its version.
pub(crate) async fn again(app: &App, claim: Claim, record: &WorkRecord, commit: &Commit) -> Result<Ended, Trouble> {
    let Some((group, plan)) = app.plan().groups.get_key_value(record.group.as_str()) else {
        return Err(Trouble::Absent(format!("no group `{}` in this program", record.group)));
    };
    let mut delivery = Delivery::new(record.topic.clone(), record.payload.clone());
    delivery.key.clone_from(&record.key);
    delivery.headers.clone_from(&record.headers);
    let fail = |error: StoreError| Trouble::Failed(error.to_string());
    let store = app.store().ok_or_else(|| Trouble::Failed("no store".to_owned()))?;
    if record.handler.is_empty() {
        if whole_again(app, group, claim, record, &delivery, commit).await? == Ended::Done {
            return Ok(Ended::Done);
        }
    } else {
        let received = received_of(record);
        let takers = plan.takers(&received.name, &record.topic);
        if !give(app, &takers, &delivery, &received, None).await.map_err(fail)? {
            return Err(Trouble::Absent(format!("{} in this program", not_taken(&received))));
        }
    }
    pass(FailPoint::WorkOffered);
    let mut tx = store.begin().await.map_err(fail)?;
    if !tx.finish_work(claim).await.map_err(fail)? {
        return Ok(Ended::Lost);
    }
    commit.begin();
    tx.commit().await.map_err(fail)?;
    Ok(Ended::Done)
}

/// Offers a message again that was kept whole. What still cannot be given to anybody stays what it is, in its place. `Done` where the
/// row has ended with it, `Duplicate` where it is still to be ended.
async fn whole_again(
    app: &App,
    group: &'static str,
    claim: Claim,
    record: &WorkRecord,
    delivery: &Delivery,
    commit: &Commit,
) -> Result<Ended, Trouble> {
    let (received, takers) = read(app, group, delivery).map_err(|unfit| Trouble::Hopeless(unfit.error))?;
    if takers.is_empty() {
        return unknown(app, group, &received).map_or(Ok(Ended::Duplicate), |error| Err(Trouble::Hopeless(error)));
    }
    let reads = |handler: u32| app.planned(handler).item.message.reads(received.version);
    if !takers.iter().any(|(handler, _)| reads(*handler)) {
        return Err(Trouble::Hopeless(not_taken(&received)));
    }
    let its_own = |(handler, options): &&(u32, GroupOptions)| {
        let lane = key_of(delivery).map(|key| lane_of(app, *handler, options, key));
        lane.is_some() && lane == record.lane && reads(*handler)
    };
    let Some((handler, options)) = takers.iter().find(its_own) else {
        let given = give(app, &takers, delivery, &received, None).await;
        return given.map(|_| Ended::Duplicate).map_err(|error| Trouble::Failed(error.to_string()));
    };
    // It holds the lane of this handler, and is handled where it stands. Others have rows of their own.
    let mut own = work_record(app, *handler, options, delivery, &received);
    own.attempts = record.attempts;
    let spec = app.planned(*handler).item.message;
    let message = decode(spec, received.version, wire::payload_of(&own.headers), &received.payload)
        .await
        .map_err(Trouble::Hopeless)?;
    let (mark, meta) = (Some(mark(app, &own)), Arc::new(meta_of(app, &own)));
    let attempt =
        attempt(app, Attempt { handler: *handler, message, meta, mark, lane: None, claim: Some(claim), commit });
    attempt.await.map_err(|failure| Trouble::of(&failure, app.planned(*handler).item))
}

/// A message that was kept for a handler, as it was read: what was kept is its payload.
fn received_of(record: &WorkRecord) -> Received<'_> {
    Received {
        id: record.id,
        name: record.name.clone(),
        version: record.version,
        time: record.created_at,
        payload: record.payload.as_slice().into(),
    }
}

async fn offer(app: &App, group: &'static str, delivery: &Delivery, failed: Option<u32>) -> Result<(), StoreError> {
    let (received, takers) = match read(app, group, delivery) {
        Ok(read) => read,
        Err(Unfit { received, error }) => {
            return bury_whole(app, group, delivery, received.as_deref(), &error).await;
        }
    };
    if takers.is_empty() {
        return match unknown(app, group, &received) {
            Some(error) => bury_whole(app, group, delivery, Some(&received), &error).await,
            None => Ok(()),
        };
    }
    if !give(app, &takers, delivery, &received, failed).await? {
        // Each of them takes the name: for each it is a message of its key, which holds back the later ones.
        for (handler, options) in &takers {
            let record = work_record(app, *handler, options, delivery, &received);
            bury(app, record, &received.payload, options, not_taken(&received)).await?;
        }
    }
    Ok(())
}

/// A message that no handler can be given.
pub(super) struct Unfit<'b> {
    /// What could be read of it.
    received: Option<Box<Received<'b>>>,
    error: String,
}

/// Reads a message off the wire, and who in the group takes its name.
pub(super) fn read<'b>(
    app: &App,
    group: &str,
    delivery: &'b Delivery,
) -> Result<(Received<'b>, Vec<(u32, GroupOptions)>), Unfit<'b>> {
    let (size, limit) = (delivery.payload.len(), app.options().payload_limit);
    if size > limit.saturating_add(wire::ENVELOPE) {
        let error = format!("the message is {size} bytes, over the limit of {limit} and what may surround a payload");
        return Err(Unfit { received: None, error });
    }
    let received = wire::read(delivery, app.clock().now(), limit)
        .map_err(|error| Unfit { received: None, error: error.to_string() })?;
    let size = received.payload.len();
    if size > limit {
        let error = format!("the payload is {size} bytes, over the limit of {limit}");
        return Err(Unfit { received: Some(Box::new(received)), error });
    }
    let takers = app.plan().groups.get(group).map(|group| group.takers(&received.name, &delivery.topic));
    Ok((received, takers.unwrap_or_default()))
}

/// Gives a message to those that take its version. Whether there is any.
async fn give(
    app: &App,
    takers: &[(u32, GroupOptions)],
    delivery: &Delivery,
    received: &Received<'_>,
    failed: Option<u32>,
) -> Result<bool, StoreError> {
    let mut taken = false;
    for (handler, options) in takers {
        if app.planned(*handler).item.message.reads(received.version) {
            taken = true;
            let record = work_record(app, *handler, options, delivery, received);
            hand(app, *handler, options, record, received, failed == Some(*handler)).await?;
        }
    }
    Ok(taken)
}

fn not_taken(received: &Received<'_>) -> String {
    format!("no handler of the group takes `{}`, version {}", received.name, received.version)
}

/// Why a message that no handler takes is kept; `None` where it is skipped.
fn unknown(app: &App, group: &str, received: &Received<'_>) -> Option<String> {
    let said = app
        .plan()
        .groups
        .get(group)
        .and_then(|group| group.handlers.values().flatten().find_map(|(_, options)| options.unknown));
    match app.options().on_unknown(group, said) {
        OnUnknown::Skip => {
            app.count_skipped();
            tracing::debug!(group, name = received.name, "no handler of the group takes the message; it is skipped");
            None
        }
        OnUnknown::Dead => Some(format!("no handler of the group takes `{}`", received.name)),
    }
}

/// Gives a message to one handler: at once, or behind those of its key that wait. Where it fails for the first time it is tried again
/// at once, in its place and in a transaction of its own, before it is stored: what is over in a moment holds up nothing of its key.
async fn hand(
    app: &App,
    handler: u32,
    options: &GroupOptions,
    mut record: WorkRecord,
    received: &Received<'_>,
    has_failed: bool,
) -> Result<(), StoreError> {
    let (spec, payload) = (app.planned(handler).item.message, &received.payload);
    let policy = app.options().retry(Some(options.group), options.retry);
    record.attempts = u32::from(has_failed && policy.is_followed_at_once(1));
    loop {
        let message = match decode(spec, received.version, wire::payload_of(&record.headers), payload).await {
            Ok(message) => message,
            Err(error) => return bury(app, record, payload, options, error).await,
        };
        let failed = match try_it(app, handler, &record, message).await {
            Ok(Ended::Behind) => return keep(app, record, payload).await,
            Ok(_) => return Ok(()),
            Err(failed) => failed,
        };
        let error = failed.error;
        if let Some(pause) = failed.turned_away {
            // Not tried, so no attempt.
            record.due_at = app.clock().now() + after_breaker(pause);
            record.error = Some(error);
            return keep(app, record, payload).await;
        }
        record.attempts += 1;
        if failed.may_be_over && policy.is_followed_at_once(record.attempts) && !app.is_stopping() {
            tracing::warn!(name = record.name, handler = record.handler, id = %record.id, error, "a message failed; it is tried again at once");
            continue;
        }
        return match policy.verdict(record.attempts, random()) {
            Verdict::Again(pause) if !failed.in_vain => {
                tracing::warn!(name = record.name, handler = record.handler, id = %record.id, ?pause, error, "a message failed; it is stored and tried again");
                record.due_at = app.clock().now() + pause;
                record.error = Some(error);
                keep(app, record, payload).await
            }
            _ => bury(app, record, payload, options, error).await,
        };
    }
}

/// How an attempt failed.
struct Failed {
    error: String,
    /// No other attempt would end otherwise.
    in_vain: bool,
    /// For how long its breaker lets nothing in: it was not tried.
    turned_away: Option<Duration>,
    /// Whether another attempt may end otherwise right away.
    may_be_over: bool,
}

impl Failed {
    fn of(failure: &Failure, item: &HandlerItem) -> Self {
        let (in_vain, turned_away) = (failure.is_in_vain(), failure.turned_away());
        Self { error: describe(failure, item), in_vain, turned_away, may_be_over: !in_vain && !is_away(failure) }
    }

    /// It took its time, or panicked outside of its handler.
    fn late(error: String) -> Self {
        Self { error, in_vain: false, turned_away: None, may_be_over: false }
    }
}

fn is_away(failure: &Failure) -> bool {
    matches!(failure, Failure::Store { source } if source.kind() == StoreErrorKind::Unavailable)
}

/// One attempt at a message that has come from the broker.
async fn try_it(app: &App, handler: u32, record: &WorkRecord, message: Erased) -> Result<Ended, Failed> {
    let (mark, meta) = (Some(mark(app, record)), Arc::new(meta_of(app, record)));
    let (lane, commit) = (record.lane.clone(), Commit::default());
    let tried = async {
        let attempt = attempt(app, Attempt { handler, message, meta, mark, lane, claim: None, commit: &commit });
        attempt.await.map_err(|failure| Failed::of(&failure, app.planned(handler).item))
    };
    in_time(app, &commit, tried).await.map_err(Failed::late)?
}

async fn bury(
    app: &App,
    mut record: WorkRecord,
    payload: &[u8],
    options: &GroupOptions,
    error: String,
) -> Result<(), StoreError> {
    tracing::error!(name = record.name, handler = record.handler, id = %record.id, error, "a message is a dead letter");
    record.attempts = record.attempts.max(1);
    record.error = Some(error);
    record.dead = true;
    if app.options().on_dead(options.group, options.on_dead) == OnDead::Skip {
        record.lane = None;
    }
    keep(app, record, payload).await
}

pub(super) fn mark(app: &App, record: &WorkRecord) -> InboxMark {
    InboxMark {
        group: record.group.clone(),
        handler: record.handler.clone(),
        event_id: record.id,
        at: app.clock().now(),
    }
}

/// A message as it would be stored for a handler, but its payload: few are stored, and only then is that copied.
pub(super) fn work_record(
    app: &App,
    handler: u32,
    options: &GroupOptions,
    delivery: &Delivery,
    received: &Received<'_>,
) -> WorkRecord {
    let path = app.planned(handler).path();
    let key = key_of(delivery).cloned();
    WorkRecord {
        id: received.id,
        kind: WorkKind::Consumed,
        lane: key.as_ref().map(|key| lane_of(app, handler, options, key)),
        handler: path,
        group: options.group.to_owned(),
        name: received.name.clone(),
        version: received.version,
        topic: delivery.topic.clone(),
        key,
        timer_key: None,
        payload: Vec::new(),
        headers: wire::without_encoding(&delivery.headers),
        created_at: received.time,
        due_at: app.clock().now(),
        attempts: 0,
        error: None,
        dead: false,
    }
}
