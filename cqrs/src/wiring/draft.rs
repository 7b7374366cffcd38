//! What the registry and the builder hold before anybody judged it.

use std::any::TypeId;
use std::collections::BTreeSet;

use crate::breaker::BreakerPolicy;
use crate::inject::Resolved;
use crate::message::{MessageSpec, SourceLocation};
use crate::registry::{ChainItem, HandlerItem, LinkItem, MessageItem, MiddlewareItem, ProviderItem, by_order};
use crate::saga::item::SagaItem;
use crate::store::driver::HandleSpec;

use super::Problem;
use super::parts::parts;

/// How the builder came by a dependency.
#[derive(Debug, Clone)]
pub(crate) enum SupplyKind {
    /// A ready value.
    Value(Resolved),
    /// Expected: to be supplied later.
    Expected,
    /// A ready value that takes the place of whatever else provides the type.
    Override(Resolved),
    /// Given out by the store when it is connected.
    Store,
}

/// A dependency the builder was given or expects.
#[derive(Debug, Clone)]
pub(crate) struct Supply {
    pub(crate) type_id: TypeId,
    pub(crate) name: &'static str,
    pub(crate) kind: SupplyKind,
    pub(crate) location: SourceLocation,
}

/// Everything discovered and built, in the one deterministic order.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    /// Handlers, and chains, which are handlers to everybody else.
    pub(crate) handlers: Vec<&'static HandlerItem>,
    pub(crate) chains: Vec<&'static ChainItem>,
    pub(crate) sagas: Vec<&'static SagaItem>,
    /// Every link there is, listed in a chain or not.
    pub(crate) links: Vec<&'static HandlerItem>,
    /// The links and fallbacks that handlers and chains name.
    pub(crate) parts: Vec<&'static HandlerItem>,
    pub(crate) providers: Vec<ProviderItem>,
    pub(crate) middlewares: Vec<MiddlewareItem>,
    /// In the order in which the builder was given them.
    #[cfg(feature = "tower")]
    pub(crate) layers: Vec<crate::tower::Layered>,
    /// In no order: there are many, and hardly ever something is said of one.
    pub(crate) messages: Vec<&'static MessageSpec>,
    pub(crate) supplies: Vec<Supply>,
    pub(crate) elsewhere: BTreeSet<TypeId>,
    /// What transactions the store lends; `None` without a store or for a store without `Tx`.
    pub(crate) handle: Option<HandleSpec>,
    pub(crate) has_store: bool,
    pub(crate) has_broker: bool,
    /// Whether what is expected counts as supplied.
    pub(crate) expected_counts: bool,
    /// What a breaker is where its handlers say nothing.
    pub(crate) breaker: BreakerPolicy,
    /// Problems found before: settings, URLs.
    pub(crate) problems: Vec<Problem>,
}

impl Draft {
    /// Everything that is linked into this program.
    pub(crate) fn linked() -> Self {
        let mut chains: Vec<&ChainItem> = inventory::iter::<ChainItem>.into_iter().collect();
        chains.sort_by_key(|chain| by_order(0, &chain.item.location, chain.item.name));
        let links: Vec<&HandlerItem> = inventory::iter::<LinkItem>.into_iter().map(|link| link.0).collect();
        let mut handlers: Vec<&HandlerItem> = inventory::iter::<HandlerItem>.into_iter().collect();
        handlers.extend(chains.iter().map(|chain| &chain.item));
        let mut sagas: Vec<&SagaItem> = inventory::iter::<SagaItem>.into_iter().collect();
        sagas.sort_by_key(|saga| by_order(0, &saga.location(), saga.context.name));
        handlers.extend(sagas.iter().flat_map(|saga| saga.keepers()));
        handlers.sort_by_key(|item| by_order(item.order, &item.location, item.name));
        let mut providers: Vec<ProviderItem> = inventory::iter::<ProviderItem>.into_iter().copied().collect();
        providers.sort_by_key(|item| by_order(0, &item.location, item.name));
        let mut middlewares: Vec<MiddlewareItem> = inventory::iter::<MiddlewareItem>.into_iter().copied().collect();
        middlewares.sort_by_key(|item| by_order(item.order, &item.location, item.name));
        let messages = inventory::iter::<MessageItem>.into_iter().map(|item| item.0).collect();
        let parts = parts(&handlers, &chains, &sagas);
        Self { handlers, chains, sagas, links, parts, providers, middlewares, messages, ..Self::default() }
    }

    /// Handlers, and the links and fallbacks that they name.
    pub(crate) fn items(&self) -> impl Iterator<Item = &&'static HandlerItem> {
        self.handlers.iter().chain(&self.parts)
    }

    /// Whether a crate registered something.
    pub(crate) fn knows(&self, name: &str) -> bool {
        let is_of = |location: &SourceLocation| location.crate_name() == name;
        self.handlers.iter().any(|item| is_of(&item.location))
            || self.sagas.iter().any(|saga| is_of(&saga.location()))
            || self.links.iter().any(|item| is_of(&item.location))
            || self.providers.iter().any(|item| is_of(&item.location))
            || self.middlewares.iter().any(|item| is_of(&item.location))
            || self.messages.iter().any(|spec| is_of(&spec.location))
    }
}
