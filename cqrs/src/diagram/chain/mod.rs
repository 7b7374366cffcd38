//! Chains: their links in order, what each does, and what stands behind it.

mod class;
mod sequence;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::words::{Surroundings, error, short};
use crate::breaker::BreakerPolicy;
use crate::message::MessageKind;
use crate::registry::{ChainItem, HandlerItem, Need};

/// The diagrams of one chain, as Mermaid texts.
///
/// See [`Diagrams`](super::Diagrams) for an example. A drawing program may refuse long texts: Mermaid itself takes 50,000
/// characters unless told otherwise, about a hundred links.
#[derive(Debug, Clone)]
pub struct ChainDiagram {
    chain: &'static ChainItem,
    links: Vec<&'static HandlerItem>,
    breakers: Arc<BTreeMap<String, BreakerPolicy>>,
}

impl ChainDiagram {
    pub(super) fn new(chain: &'static ChainItem, breakers: Arc<BTreeMap<String, BreakerPolicy>>) -> Self {
        Self { chain, links: (chain.links)(), breakers }
    }

    /// The path of the message that the chain is for.
    pub fn message(&self) -> &'static str {
        self.chain.item.message.type_name()
    }

    /// What happens to a call: the links in the order in which they are asked; how each may answer, fail or pass; what is
    /// tried before a link counts as failed; and `ChainExhausted` past the end.
    pub fn sequence(&self) -> String {
        sequence::draw(self)
    }

    /// What the chain is made of: its message, its links and their fallbacks, what they take, and the dependencies they
    /// share.
    pub fn class(&self) -> String {
        class::draw(self)
    }

    /// The message's short name.
    fn message_name(&self) -> String {
        short(self.message())
    }

    fn response(&self) -> String {
        short((self.chain.response)())
    }

    fn error(&self) -> String {
        let path = (self.chain.error)();
        error(path).unwrap_or_else(|| short(path))
    }

    /// What is said of the chain as a whole.
    fn promises(&self) -> Vec<String> {
        let mut lines = vec!["one unit of work for all links".to_owned()];
        lines.push(match self.chain.item.message.kind {
            MessageKind::Query => "an error ends the chain".to_owned(),
            _ => "what a passing link wrote or raised stays, an error undoes all of it".to_owned(),
        });
        lines.extend(self.transaction());
        lines
    }

    /// When the transaction that the links share is begun, if they have one.
    fn transaction(&self) -> Option<String> {
        let items = self.links.iter().flat_map(|link| [Some(*link), link.fallback]).flatten();
        let mut asked = items.flat_map(|item| item.needs.iter().map(move |need| (item, need)));
        asked.find_map(|(item, need)| match need {
            Need::Tx { name, .. } => Some(format!("one transaction, Tx<{}>, begun for {}", short(name()), item.name)),
            Need::Begin { name, .. } => {
                Some(format!("one transaction, Tx<{}>, begun when {} asks for it", short(name()), item.name))
            }
            _ => None,
        })
    }

    fn surroundings(&self, item: &HandlerItem) -> Surroundings {
        Surroundings::of(item, &self.breakers)
    }
}
