//! The arguments of `#[event_handler]`: four modes told apart by words, and what each accepts beside them.

use proc_macro2::TokenStream;

use super::args::Args;
use crate::diag::catalogue;
use crate::model::{EventMode, Group, HandlerKind, OnDead, OnUnknown, Retry};
use crate::parse::{Place, arguments};

const MODES: [&str; 3] = ["inline", "durable", "group"];
const GROUP_ONLY: [&str; 4] = ["topic", "concurrency", "on_dead", "unknown"];

/// How the handler runs; errors leave the mode that comes nearest.
pub(super) fn event_kind(args: &Args<'_>) -> HandlerKind {
    let order = args.integer("order", i128::from(i32::MIN)).unwrap_or(0);
    let (inline, durable, group) = (args.flag("inline"), args.flag("durable"), args.text("group"));
    one_mode(args);
    let retry = retry(args);
    let (topic, concurrency) = (args.text("topic"), args.integer("concurrency", 1));
    let on_dead = args.word("on_dead", &[("park", OnDead::Park), ("skip", OnDead::Skip)]);
    let unknown = args.word("unknown", &[("skip", OnUnknown::Skip), ("dead", OnUnknown::Dead)]);
    let consumed = args.written("group").is_some();
    if !consumed {
        refuse_group_only(args);
    }
    if !consumed && !durable {
        refuse_retry(args, inline);
    }
    let mode = match group {
        Some(name) => EventMode::Group(Group { name, topic, concurrency, retry, on_dead, unknown }),
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

fn refuse_retry(args: &Args<'_>, inline: bool) {
    if let Some((_, arg)) = args.written("retry") {
        args.sink().at(&arg.key, catalogue::needs_retrying(inline));
    }
}

/// `retry(max = 8, first = "1s", factor = 2.0, ceiling = "5m")`.
fn retry(args: &Args<'_>) -> Retry {
    let Some(list) = args.value::<TokenStream>("retry") else { return Retry::default() };
    let inner = Args::new(Place::Retry, arguments(list), args.sink());
    let retry = Retry {
        max: inner.integer("max", 1),
        first: inner.duration("first"),
        factor: inner.value("factor"),
        ceiling: inner.duration("ceiling"),
    };
    if retry.factor.is_some_and(|factor| factor < 1.0) {
        args.sink().at(inner.value_tokens("factor"), catalogue::factor_below_one());
    }
    if let (Some(first), Some(ceiling)) = (retry.first, retry.ceiling)
        && ceiling < first
    {
        args.sink().at(inner.value_tokens("ceiling"), catalogue::ceiling_below_first());
    }
    retry
}
