//! What the registry and the builder hold before anybody judged it.

use std::any::TypeId;
use std::collections::BTreeSet;

use crate::inject::Resolved;
use crate::message::{MessageSpec, SourceLocation};
use crate::registry::{HandlerItem, MessageItem, MiddlewareItem, ProviderItem, by_order};
use crate::store::driver::HandleSpec;

use super::Problem;

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
    pub(crate) handlers: Vec<&'static HandlerItem>,
    pub(crate) providers: Vec<ProviderItem>,
    pub(crate) middlewares: Vec<MiddlewareItem>,
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
    /// Problems found before: settings, URLs.
    pub(crate) problems: Vec<Problem>,
}

impl Draft {
    /// Everything that is linked into this program.
    pub(crate) fn linked() -> Self {
        let mut handlers: Vec<&HandlerItem> = inventory::iter::<HandlerItem>.into_iter().collect();
        handlers.sort_by_key(|item| by_order(item.order, &item.location, item.name));
        let mut providers: Vec<ProviderItem> = inventory::iter::<ProviderItem>.into_iter().copied().collect();
        providers.sort_by_key(|item| by_order(0, &item.location, item.name));
        let mut middlewares: Vec<MiddlewareItem> = inventory::iter::<MiddlewareItem>.into_iter().copied().collect();
        middlewares.sort_by_key(|item| by_order(item.order, &item.location, item.name));
        let messages = inventory::iter::<MessageItem>.into_iter().map(|item| item.0).collect();
        Self { handlers, providers, middlewares, messages, ..Self::default() }
    }

    /// Whether a crate registered something.
    pub(crate) fn knows(&self, name: &str) -> bool {
        let is_of = |location: &SourceLocation| location.crate_name() == name;
        self.handlers.iter().any(|item| is_of(&item.location))
            || self.providers.iter().any(|item| is_of(&item.location))
            || self.middlewares.iter().any(|item| is_of(&item.location))
            || self.messages.iter().any(|spec| is_of(&spec.location))
    }
}
