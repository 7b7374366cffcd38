//! What surrounds an attempt at stored work: decoding, lease, deadline, retry, dead letter.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tracing::Instrument;

use super::{Attempt, Commit, Ended, absent, attempt, in_time};
use crate::app::App;
use crate::consumer;
use crate::dispatch::{Caught, DispatchError, Failure};
use crate::error::chain;
use crate::fail_points::{FailPoint, pass};
use crate::lease;
use crate::message::{Erased, MessageSpec};
use crate::registry::{EventMode, HandlerItem, HandlerKind, OnDead, RetryOptions};
use crate::retry::{RetryPolicy, Verdict, random};
use crate::store::driver::Driver;
use crate::store::{Claim, ClaimedWork, StoreError, WorkKind, WorkRecord};
use crate::unit::{Meta, MetaInit};
use crate::wire::{self, Payload};

/// How an attempt went wrong.
pub(crate) enum Trouble {
    /// It may go better next time.
    Failed(String),
    /// Its breaker let nothing in for so long: it was not tried.
    TurnedAway(Duration, String),
    /// It never will.
    Hopeless(String),
    /// This program has no handler for it; another version may.
    Absent(String),
}

impl Trouble {
    /// What a failure of a handler's attempt comes to.
    pub(crate) fn of(failure: &Failure, item: &HandlerItem) -> Self {
        let text = describe(failure, item);
        match failure.turned_away() {
            Some(pause) => Self::TurnedAway(pause, text),
            None if failure.is_in_vain() => Self::Hopeless(text),
            None => Self::Failed(text),
        }
    }
}

/// Does one piece of claimed work, whatever comes of it.
pub(super) async fn run(app: &App, store: &Arc<dyn Driver>, work: ClaimedWork) {
    let ClaimedWork { claim, record, deferred_since } = work;
    let (policy, _) = policy(app, &record);
    if record.attempts >= policy.max {
        // Its attempts never came back to say how they failed: it brings down whoever tries it.
        let error = record.error.clone();
        let error = error.unwrap_or_else(|| "every attempt ended with its process, or outlived its claim".to_owned());
        if let Err(error) = bury(app, store, claim, &record, &error).await {
            tracing::warn!(error = chain(&error), id = %record.id, "work that used up its attempts could not be buried");
        }
        return;
    }
    let span = tracing::debug_span!("work", kind = record.kind.as_str(), name = record.name, id = %record.id);
    let outcome = held(app, store, claim, &record).instrument(span).await;
    let settled = match outcome {
        Ok(Ended::Done | Ended::Duplicate | Ended::Behind) => {
            // The end of this work may free the next of its lane.
            if record.lane.is_some() {
                app.wake_bell().notify_waiters();
            }
            return;
        }
        Ok(Ended::Lost) => {
            tracing::warn!(name = record.name, id = %record.id, "stored work was taken over by another instance");
            return;
        }
        Err(Trouble::Hopeless(error)) => bury(app, store, claim, &record, &error).await,
        Err(Trouble::Failed(error)) => fail(app, store, claim, &record, &error).await,
        Err(Trouble::TurnedAway(pause, error)) => wait_for_breaker(app, store, claim, &record, pause, &error).await,
        Err(Trouble::Absent(error)) => put_off(app, store, claim, &record, deferred_since, &error).await,
    };
    if let Err(error) = settled {
        tracing::warn!(error = chain(&error), id = %record.id, "failed work could not be put back; its claim runs out by itself");
    }
}

/// Makes the attempt while renewing its claim; gives it up when the claim is lost.
async fn held(app: &App, store: &Arc<dyn Driver>, claim: Claim, record: &WorkRecord) -> Result<Ended, Trouble> {
    let commit = Commit::default();
    tokio::select! {
        biased;
        done = in_time(app, &commit, do_work(app, claim, record, &commit)) => match done {
            Ok(done) => done,
            Err(error) => Err(Trouble::Failed(error)),
        },
        () = keep(app, store, claim, &commit) => Ok(Ended::Lost),
    }
}

/// Renews a claim until it is lost. One that is gone because its own attempt committed is not lost.
async fn keep(app: &App, store: &Arc<dyn Driver>, claim: Claim, commit: &Commit) {
    let lease = app.options().lease;
    let renew = || async {
        let held = store.renew_work(vec![claim], app.clock().lease_now() + lease).await?;
        Ok(!held.is_empty())
    };
    lease::keep(lease, "a claim", renew).await;
    if commit.has_begun() {
        std::future::pending::<()>().await;
    }
}

/// Reads a message. The user's `Deserialize` and `From` may panic: the next attempt would read the same bytes.
pub(crate) async fn decode(
    spec: &MessageSpec,
    version: u32,
    written: Payload,
    payload: &[u8],
) -> Result<Erased, String> {
    let decoder = |spec: &MessageSpec| spec.codec.decoder(spec.name, written == Payload::Protobuf);
    match Caught(std::pin::pin!(async { spec.read(version, &decoder, payload) })).await {
        Ok(message) => message.map_err(|error| error.to_string()),
        Err(panic) => Err(format!("reading `{}` panicked: {panic}", spec.name)),
    }
}

async fn do_work(app: &App, claim: Claim, record: &WorkRecord, commit: &Commit) -> Result<Ended, Trouble> {
    if record.kind == WorkKind::Consumed && !has_taker(app, record) {
        return consumer::again(app, claim, record, commit).await;
    }
    let (handler, spec) = target(app, record)?;
    let message = decode(spec, record.version, wire::payload_of(&record.headers), &record.payload)
        .await
        .map_err(Trouble::Hopeless)?;
    let meta = Arc::new(meta_of(app, record));
    // A consumed message was marked when it was stored: the claim is what it is done once by.
    attempt(app, Attempt { handler, message, meta, mark: None, lane: None, claim: Some(claim), commit })
        .await
        .map_err(|failure| Trouble::of(&failure, app.planned(handler).item))
}

/// Whether the handler that a consumed message was kept for takes its version.
fn has_taker(app: &App, record: &WorkRecord) -> bool {
    let spec = app.plan().handler_by_path(&record.handler).map(|handler| app.planned(handler).item.message);
    spec.is_some_and(|spec| spec.name == record.name && spec.reads(record.version))
}

/// The handler of stored work, and the type of its message.
fn target(app: &App, record: &WorkRecord) -> Result<(u32, &'static MessageSpec), Trouble> {
    let plan = app.plan();
    let missing =
        |what: String| Trouble::Absent(format!("{what}; deploy a program that has it, or discard this message"));
    if matches!(record.kind, WorkKind::Command | WorkKind::Timer) {
        let spec = plan.stored_command(&record.name, record.version).ok_or_else(|| {
            missing(format!("no command `{}`, version {}, in this program", record.name, record.version))
        })?;
        let handler = plan.calls.get(&spec.type_id).map(|entry| entry.handler);
        return handler
            .map(|handler| (handler, spec))
            .ok_or_else(|| missing(format!("no handler for `{}`", spec.name)));
    }
    let handler = plan
        .handler_by_path(&record.handler)
        .ok_or_else(|| missing(format!("no handler `{}` in this program", record.handler)))?;
    let spec = app.planned(handler).item.message;
    if spec.name != record.name || !spec.reads(record.version) {
        return Err(missing(format!(
            "`{}` takes `{}`, version {}; this is `{}`, version {}",
            record.handler, spec.name, spec.version, record.name, record.version
        )));
    }
    Ok((handler, spec))
}

/// What is known about stored work's call.
pub(crate) fn meta_of(app: &App, record: &WorkRecord) -> Meta {
    let uuid = |name| record.headers.get(name).and_then(|text| text.parse().ok());
    Meta::new(MetaInit {
        id: Some(record.id),
        time: Some(record.created_at),
        ahead: app.clock().ahead(),
        correlation_id: uuid(wire::CORRELATION_ID),
        causation_id: uuid(wire::CAUSATION_ID),
        parent: None,
        key: record.key.clone(),
        topic: (!record.topic.is_empty()).then(|| record.topic.clone()),
        headers: record.headers.clone(),
        attempt: Some(record.attempts.saturating_add(1)),
    })
}

/// A failure of a handler's attempt and its causes, in one line. The handler's own error speaks for itself: whose it is stands
/// beside it. One of an inline handler of what it raised does not.
pub(crate) fn describe(failure: &Failure, of: &HandlerItem) -> String {
    match failure {
        DispatchError::EventFailed { event, handler, source } if (*event, *handler) == (of.message.name, of.name) => {
            chain(source.as_ref())
        }
        DispatchError::FallbackFailed { primary, source } => {
            format!("{}, as a fallback after: {primary}", describe(source, of))
        }
        failure => chain(failure),
    }
}

fn policy(app: &App, record: &WorkRecord) -> (RetryPolicy, OnDead) {
    let options = app.options();
    let item = app.plan().handler_by_path(&record.handler).map(|handler| app.planned(handler).item.kind);
    match item {
        Some(HandlerKind::Event(EventMode::Durable(retry))) => (options.retry(None, retry), OnDead::Park),
        Some(HandlerKind::Event(EventMode::Group(said))) => {
            (options.retry(Some(said.group), said.retry), options.on_dead(said.group, said.on_dead))
        }
        _ => (options.retry(None, RetryOptions::NONE), OnDead::Park),
    }
}

async fn fail(
    app: &App,
    store: &Arc<dyn Driver>,
    claim: Claim,
    record: &WorkRecord,
    error: &str,
) -> Result<(), StoreError> {
    let (policy, _) = policy(app, record);
    match policy.verdict(record.attempts.saturating_add(1), random()) {
        Verdict::Again(pause) => {
            let attempt = record.attempts.saturating_add(1);
            let pause = if policy.is_followed_at_once(attempt) { Duration::ZERO } else { pause };
            tracing::warn!(name = record.name, handler = record.handler, id = %record.id, attempt, ?pause, error, "stored work failed; it is tried again");
            pass(FailPoint::WorkRetrying);
            store.retry_work(claim, app.clock().now() + pause, error).await?;
            pass(FailPoint::WorkRetried);
            Ok(())
        }
        Verdict::GiveUp => bury(app, store, claim, record, error).await,
    }
}

/// When work is looked at again that a breaker turned away: a little later than it says, each at a time of its own.
pub(crate) fn after_breaker(pause: Duration) -> Duration {
    let least = Duration::from_millis(500);
    pause.max(least) + least.mul_f64(random())
}

/// Puts work off that a breaker turned away. It was not tried, so it counts as no attempt: an outage of what its handler
/// depends on buries nothing. The breaker's trials are attempts, so it does not wait for ever.
async fn wait_for_breaker(
    app: &App,
    store: &Arc<dyn Driver>,
    claim: Claim,
    record: &WorkRecord,
    pause: Duration,
    error: &str,
) -> Result<(), StoreError> {
    let (now, pause) = (app.clock().now(), after_breaker(pause));
    tracing::debug!(name = record.name, handler = record.handler, id = %record.id, ?pause, "stored work waits for a circuit breaker");
    store.defer_work(claim, now, now + pause, error).await.map(drop)
}

/// Leaves work that this program cannot do to one that can. It counts as no attempt, and ends after a day.
async fn put_off(
    app: &App,
    store: &Arc<dyn Driver>,
    claim: Claim,
    record: &WorkRecord,
    since: Option<SystemTime>,
    error: &str,
) -> Result<(), StoreError> {
    let ((policy, _), now) = (policy(app, record), app.clock().now());
    match absent::verdict(since, now, &policy, random()) {
        Verdict::Again(pause) => {
            tracing::warn!(name = record.name, version = record.version, handler = record.handler, id = %record.id, ?pause, error, "stored work cannot be done by this program; it waits for another");
            store.defer_work(claim, now, now + pause, error).await.map(drop)
        }
        Verdict::GiveUp => bury(app, store, claim, record, error).await,
    }
}

async fn bury(
    app: &App,
    store: &Arc<dyn Driver>,
    claim: Claim,
    record: &WorkRecord,
    error: &str,
) -> Result<(), StoreError> {
    let (_, on_dead) = policy(app, record);
    tracing::error!(name = record.name, handler = record.handler, id = %record.id, error, "stored work is a dead letter");
    pass(FailPoint::WorkBurying);
    store.bury_work(claim, error, on_dead == OnDead::Skip).await?;
    pass(FailPoint::WorkBuried);
    app.wake_bell().notify_waiters();
    Ok(())
}
