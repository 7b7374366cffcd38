//! The arguments of `#[event_handler]`: four modes told apart by words, and what each accepts beside them.

use super::args::Args;
use super::policy::retry;
use crate::diag::catalogue;
use crate::model::{EventMode, Group, HandlerKind, OnDead, OnUnknown, Retry};

const MODES: [&str; 3] = ["inline", "durable", "group"];
const GROUP_ONLY: [&str; 5] = ["topic", "concurrency", "batch", "on_dead", "unknown"];

/// How the handler runs; errors leave the mode that comes nearest.
pub(super) fn event_kind(args: &Args<'_>) -> HandlerKind {
    let order = args.integer("order", i128::from(i32::MIN)).unwrap_or(0);
    let (inline, durable, group) = (args.flag("inline"), args.flag("durable"), args.text("group"));
    one_mode(args);
    let consumed = args.written("group").is_some();
    // Work that is stored is tried again from the store; `Policy` has the retries of the others.
    let retry = if consumed || durable { retry(args).unwrap_or_default() } else { Retry::default() };
    let (topic, concurrency, batch) = (args.text("topic"), args.integer("concurrency", 1), args.integer("batch", 1));
    let on_dead = args.word("on_dead", &[("park", OnDead::Park), ("skip", OnDead::Skip)]);
    let unknown = args.word("unknown", &[("skip", OnUnknown::Skip), ("dead", OnUnknown::Dead)]);
    if !consumed {
        refuse_group_only(args);
    }
    let mode = match group {
        Some(name) => EventMode::Group(Group { name, topic, concurrency, batch, retry, on_dead, unknown }),
        None if durable => EventMode::Durable(retry),
        None if inline => EventMode::Inline,
        None => EventMode::Plain,
    };
    HandlerKind::Event { mode, order }
}

/// Reports every mode after the first.
fn one_mode(args: &Args<'_>) {
    let mut modes = args.keys().filter(|key| MODES.contains(&key.to_string().as_str()));
    let Some(first) = modes.next() else { return };
    for other in modes {
        args.sink().at(other, catalogue::contradictory_modes(&first.to_string(), &other.to_string()));
    }
}

fn refuse_group_only(args: &Args<'_>) {
    for (key, arg) in GROUP_ONLY.iter().filter_map(|word| args.written(word)) {
        args.sink().at(&arg.key, catalogue::needs_group(key));
    }
}
