//! Functions that are no handlers by themselves: the links of chains, and fallbacks.

use std::collections::{BTreeMap, HashMap};

use super::check::describe;
use super::draft::Draft;
use super::problem::{Problem, ProblemKind};
use crate::message::SourceLocation;
use crate::registry::{ChainItem, HandlerItem, HandlerKind};
use crate::saga::item::SagaItem;

/// What tells one function from another.
pub(super) type Key = (SourceLocation, &'static str);

pub(super) fn key(item: &HandlerItem) -> Key {
    (item.location, item.name)
}

/// The functions that handlers, chains and sagas name, each once, in the order they are named.
pub(super) fn parts(
    handlers: &[&'static HandlerItem],
    chains: &[&'static ChainItem],
    sagas: &[&'static SagaItem],
) -> Vec<&'static HandlerItem> {
    let links = chains.iter().flat_map(|chain| (chain.links)());
    let fallbacks = handlers.iter().filter_map(|item| item.fallback);
    let mut parts: Vec<&'static HandlerItem> = Vec::new();
    let steps = sagas.iter().flat_map(|saga| saga.functions());
    for part in fallbacks.chain(links.flat_map(|link| [Some(link), link.fallback]).flatten()).chain(steps) {
        if !parts.iter().any(|known| key(known) == key(part)) {
            parts.push(part);
        }
    }
    parts
}

/// Every link is in a chain, and in one chain only once.
pub(super) fn check_links(draft: &Draft, problems: &mut Vec<Problem>) {
    let mut places: HashMap<Key, Vec<&ChainItem>> = HashMap::new();
    for chain in draft.chains.iter().copied() {
        for link in (chain.links)() {
            places.entry(key(link)).or_default().push(chain);
        }
    }
    let mut wrong = BTreeMap::new();
    for link in draft.links.iter().copied() {
        match places.get(&key(link)).map_or(&[][..], Vec::as_slice) {
            [] => {
                let what = format!("{} is in no chain: it is never asked", describe(link));
                let mend = format!(
                    "list it where it belongs: `cqrs::chain!({} => [.., {}]);`",
                    link.message.type_name().rsplit("::").next().unwrap_or_default(),
                    link.name
                );
                wrong.insert(
                    key(link),
                    Problem::new(ProblemKind::LinkNotListed, what, mend).at("the link", link.location),
                );
            }
            [_] => {}
            several => {
                let what = format!("{} is listed {} times", describe(link), several.len());
                let mend = "a link that has passed a message would be asked again: keep it once";
                let mut problem = Problem::new(ProblemKind::LinkTwice, what, mend).at("the link", link.location);
                for chain in several {
                    problem = problem.at(describe(&chain.item), chain.item.location);
                }
                wrong.insert(key(link), problem);
            }
        }
    }
    problems.extend(wrong.into_values());
}

/// Whether an item is a part, and no handler by itself.
pub(super) fn is_part(kind: HandlerKind) -> bool {
    matches!(kind, HandlerKind::Link | HandlerKind::Fallback | HandlerKind::Step | HandlerKind::Compensation)
}
