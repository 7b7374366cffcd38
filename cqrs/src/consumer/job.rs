//! The messages of one batch: which of them share a transaction, and what becomes of the others.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::batch::{Lane, Way, arrange, redone_at_least};
use super::pace::Took;
use super::together::{self, Failed, Member, Next, Told};
use super::{deliver, wire};
use crate::app::App;
use crate::broker::Delivery;
use crate::broker::driver::Settlement;
use crate::middleware::CallKind;
use crate::registry::{GroupOptions, Need};
use crate::worker::{decode, meta_of};

/// How long a batch takes on messages. What it has not begun by then is the next one's: a transaction is not held for as
/// long as a hundred slow handlers take.
pub(super) const LONGEST: Duration = Duration::from_millis(200);

/// Handles the messages of a batch. Gives how each was settled, `None` for those that it has not begun; and what they took.
pub(super) async fn handle(
    app: &App,
    group: &'static str,
    messages: &[(Option<Lane>, Delivery)],
    stop: &CancellationToken,
) -> (Vec<Option<Settlement>>, Vec<Took>) {
    let begun = Instant::now();
    if let [(_, delivery)] = messages {
        let settled = vec![Some(deliver::deliver(app, group, delivery, None).await)];
        return (settled, vec![Took::Alone { messages: 1, whole: begun.elapsed() }]);
    }
    let mut until = begun + LONGEST;
    let (members, ways) = read(app, group, messages).await;
    let batch = members.into_iter().zip(&ways).enumerate();
    let batch = batch.filter_map(|(at, (members, way))| (*way != Way::Alone).then_some((at, *way, members)));
    let told = together::handle(app, group, batch.collect(), Told { until, stop }).await;
    let mut settled = vec![None; messages.len()];
    for at in &told.done {
        settled[*at] = Some(Settlement::Done);
    }
    // What is handled one by one, and how much of it whatever time it takes.
    let (alone, least, failed): (Vec<usize>, usize, Option<Failed>) = match told.next {
        Next::Others => {
            let alone = ways.iter().enumerate().filter_map(|(at, way)| (*way == Way::Alone).then_some(at));
            (alone.collect(), usize::from(told.done.is_empty()), None)
        }
        Next::Nothing => (Vec::new(), 0, None),
        Next::Alone(failed) => (vec![failed.at], 1, Some(failed)),
        Next::Redo(by) => {
            until = Instant::now() + LONGEST;
            ((0..messages.len()).collect(), redone_at_least(by.map(|failed| failed.at)), by)
        }
    };
    let (begun, mut messages_alone) = (Instant::now(), 0);
    for (count, at) in alone.into_iter().enumerate() {
        if stop.is_cancelled() || (count >= least && Instant::now() >= until) {
            break;
        }
        let failed = failed.filter(|failed| failed.at == at).map(|failed| failed.handler);
        let settlement = deliver::deliver(app, group, &messages[at].1, failed).await;
        settled[at] = Some(settlement);
        messages_alone += 1;
        if settlement == Settlement::Return {
            // Nothing could be stored: neither will be what comes after it.
            break;
        }
    }
    let alone = Took::Alone { messages: messages_alone, whole: begun.elapsed() };
    (settled, told.took.into_iter().chain([alone]).collect())
}

/// What each message is for its handlers, and how it is handled.
async fn read<'b>(
    app: &App,
    group: &str,
    messages: &'b [(Option<Lane>, Delivery)],
) -> (Vec<Vec<Member<'b>>>, Vec<Way>) {
    let (mut all, mut ways) = (Vec::with_capacity(messages.len()), Vec::with_capacity(messages.len()));
    for (lane, delivery) in messages {
        let (way, members) = members(app, group, delivery).await.unwrap_or((Way::Alone, Vec::new()));
        ways.push((lane.clone(), way));
        all.push(members);
    }
    (all, arrange(&ways))
}

/// The handlers that a message is for, and how they are called; `None` where there is anything special about it.
async fn members<'b>(app: &App, group: &str, delivery: &'b Delivery) -> Option<(Way, Vec<Member<'b>>)> {
    let (received, takers) = deliver::read(app, group, delivery).ok()?;
    let received = Arc::new(received);
    let takers: Vec<&(u32, GroupOptions)> =
        takers.iter().filter(|(handler, _)| app.planned(*handler).item.message.reads(received.version)).collect();
    let mut ways = takers.iter().map(|(handler, _)| way(app, *handler));
    let way = ways.next().filter(|first| ways.all(|way| way == *first))?;
    let mut members = Vec::with_capacity(takers.len());
    for (handler, options) in takers {
        let record = deliver::work_record(app, *handler, options, delivery, &received);
        let (spec, written) = (app.planned(*handler).item.message, wire::payload_of(&record.headers));
        let message = decode(spec, received.version, written, &received.payload).await.ok()?;
        let meta = meta_of(app, &record).into();
        members.push(Member { handler: *handler, record, received: Arc::clone(&received), message, meta });
    }
    (way != Way::Alone).then_some((way, members))
}

/// Whether messages of a group can share a transaction at all.
pub(super) fn is_batched(app: &App, group: &str) -> bool {
    let handlers = app.plan().groups.get(group).into_iter().flat_map(|group| group.handlers.values().flatten());
    app.store().is_some() && handlers.into_iter().any(|(handler, _)| way(app, *handler) != Way::Alone)
}

/// How a handler is called in a batch. One that begins its transaction late has slow work to do first, and an attempt that
/// may be undone by itself would need a savepoint: these are called alone.
fn way(app: &App, handler: u32) -> Way {
    let planned = app.planned(handler);
    let item = planned.item;
    let begins_late = item.needs.iter().any(|need| matches!(need, Need::Begin { .. }));
    let watched = !app.plan().middleware(CallKind::of(item.message)).is_empty();
    if planned.policy.is_some() || begins_late || watched {
        Way::Alone
    } else if planned.needs_tx {
        Way::Within
    } else {
        Way::Before
    }
}
