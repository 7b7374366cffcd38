//! Which stored work this program has handlers for, and which of it this process does.

use crate::app::App;
use crate::registry::{EventMode, HandlerKind};
use crate::store::WorkQueue;
use crate::wiring::Plan;

/// The queues of every handler of this program, each with the part of `run` that does it. Commands and timers name no
/// handler: whether one is here is found out when one is claimed.
pub(super) fn known(plan: &Plan) -> Vec<(String, WorkQueue)> {
    let part = |group: &str| format!("group:{group}");
    let mut queues = vec![("work".to_owned(), WorkQueue::commands()), ("timers".to_owned(), WorkQueue::timers())];
    for planned in &plan.handlers {
        match planned.item.kind {
            HandlerKind::Event(EventMode::Durable(_)) => {
                queues.push(("work".to_owned(), WorkQueue::durable(planned.path.as_str())));
            }
            HandlerKind::Event(EventMode::Group(said)) => {
                queues.push((part(said.group), WorkQueue::consumed(said.group, planned.path.as_str())));
            }
            _ => {}
        }
    }
    queues.extend(plan.groups.keys().map(|group| (part(group), WorkQueue::consumed(*group, ""))));
    queues
}

/// The queues that this process works on.
pub(crate) fn here(app: &App) -> Vec<WorkQueue> {
    let known = known(app.plan()).into_iter();
    known.filter(|(part, _)| app.options().runs(part)).map(|(_, queue)| queue).collect()
}
