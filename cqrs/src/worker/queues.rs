//! Which stored work this program has handlers for, and which of it this process does.

use std::collections::BTreeMap;

use super::Turns;
use crate::app::App;
use crate::registry::{EventMode, HandlerKind};
use crate::store::{WorkKind, WorkQueue};
use crate::wiring::Plan;

/// The queues of every handler of this program, each with the part of `run` that does it. Commands and timers name no
/// handler: whether one is here is found out when one is claimed.
pub(super) fn known(plan: &Plan) -> Vec<(String, WorkQueue)> {
    let part = |group: &str| format!("retries:{group}");
    let mut queues = vec![("work".to_owned(), WorkQueue::commands()), ("timers".to_owned(), WorkQueue::timers())];
    for planned in &plan.handlers {
        match planned.item.kind {
            HandlerKind::Event(EventMode::Durable(_)) => {
                queues.push(("work".to_owned(), WorkQueue::durable(planned.path())));
            }
            HandlerKind::Event(EventMode::Group(said)) => {
                queues.push((part(said.group), WorkQueue::consumed(said.group, planned.path())));
            }
            _ => {}
        }
    }
    queues.extend(plan.groups.keys().map(|group| (part(group), WorkQueue::consumed(*group, ""))));
    queues
}

/// The queues that this process works on, each with its part of `run`.
fn parts_here(app: &App) -> impl Iterator<Item = (String, WorkQueue)> {
    known(app.plan()).into_iter().filter(|(part, _)| app.options().runs(part))
}

/// The queues that this process works on.
#[cfg(feature = "testing")]
pub(crate) fn here(app: &App) -> Vec<WorkQueue> {
    parts_here(app).map(|(_, queue)| queue).collect()
}

/// Work that shares one limit: a durable handler's, a group's, commands, timers.
pub(super) struct Share {
    pub(super) queues: Vec<WorkQueue>,
    /// How much of it is done at once.
    pub(super) turns: Turns,
    /// Whether what comes from the broker takes turns with it.
    pub(super) is_group: bool,
}

/// What this process works on, by what shares a limit.
pub(super) fn shares(app: &App, turns: &BTreeMap<&'static str, Turns>) -> Vec<Share> {
    let mut shares: Vec<Share> = Vec::new();
    let mut groups: BTreeMap<String, usize> = BTreeMap::new();
    for (_, queue) in parts_here(app) {
        if let Some(at) = groups.get(&queue.group).filter(|_| queue.kind == WorkKind::Consumed) {
            shares[*at].queues.push(queue);
            continue;
        }
        let of_group = turns.get(queue.group.as_str()).filter(|_| queue.kind == WorkKind::Consumed).cloned();
        if queue.kind == WorkKind::Consumed {
            groups.insert(queue.group.clone(), shares.len());
        }
        let is_group = of_group.is_some();
        let turns = of_group.unwrap_or_else(|| Turns::new(app.options().concurrency.max(1)));
        shares.push(Share { queues: vec![queue], turns, is_group });
    }
    shares
}
