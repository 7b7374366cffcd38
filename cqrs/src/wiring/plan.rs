//! The plan: what a running app looks calls up in.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, OnceLock};

use super::identity::ByType;
use crate::breaker::Panel;
use crate::event::{Node, Raised};
use crate::inject::{Resolved, ScopedProvider, Slot};
use crate::message::{Handled, MessageKind, MessageSpec};
use crate::middleware::{CallKind, Chain};
use crate::policy::PlannedPolicy;
use crate::registry::{CallThunk, ChainItem, GroupOptions, HandlerItem, HandlerKind, Thunk, by_order};
use crate::saga::PlannedSagas;

/// A handler with its dependencies.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) item: &'static HandlerItem,
    /// Its dependencies, where one is message-scoped.
    pub(crate) slots: Box<[Slot]>,
    /// Its dependencies, where none is.
    pub(crate) fixed: Box<[Resolved]>,
    /// Whether a dependency is message-scoped.
    pub(crate) scoped: bool,
    /// Whether the handler takes `&mut Tx`.
    pub(crate) needs_tx: bool,
    /// Whether the handler takes anything beyond dependencies and `Events`: calls through `&App` too ask for its `Meta`.
    /// What its fallback or its links take counts.
    pub(crate) needs_unit: bool,
    /// What surrounds its attempts.
    pub(crate) policy: Option<Arc<PlannedPolicy>>,
    /// The numbers of a chain's links, in their order.
    pub(crate) links: Arc<[u32]>,
}

impl Planned {
    /// The handler's path, as stored work names it.
    pub(crate) fn path(&self) -> String {
        self.item.path()
    }
}

/// What a command or query is looked up to.
#[derive(Clone, Copy)]
pub(crate) struct CallEntry {
    pub(crate) handler: u32,
    /// Whether the handler alone is enough: no transaction, nothing message-scoped, no middleware.
    pub(crate) slim: bool,
    /// Whether it is a chain or has a policy: its thunk is a `WholeThunk<M>`.
    pub(crate) whole: bool,
    /// The handler's function name.
    pub(crate) name: &'static str,
    /// A `CallThunk<M>` or a `WholeThunk<M>`.
    pub(crate) thunk: &'static (dyn Any + Send + Sync),
}

impl CallEntry {
    pub(crate) fn of(planned: &Planned, handler: u32, has_middleware: bool) -> Option<Self> {
        let item = planned.item;
        let Thunk::Call(thunk) = item.thunk else { return None };
        let whole = item.policy.is_some() || matches!(item.kind, HandlerKind::Chain);
        Some(Self { handler, slim: !planned.needs_unit && !has_middleware, whole, name: item.name, thunk })
    }

    /// The thunk of a handler of `M` without a policy.
    #[inline]
    pub(crate) fn plain<M: Handled>(&self) -> Option<&'static CallThunk<M>> {
        self.thunk.downcast_ref()
    }
}

impl fmt::Debug for CallEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallEntry").field("name", &self.name).field("slim", &self.slim).finish_non_exhaustive()
    }
}

/// The handlers of one event, by how they run.
#[derive(Debug, Default)]
pub(crate) struct EventPlan {
    pub(crate) plain: Vec<u32>,
    pub(crate) inline: Vec<u32>,
    pub(crate) durable: Vec<u32>,
}

/// A consumer group.
#[derive(Debug, Default)]
pub(crate) struct GroupPlan {
    pub(crate) topics: BTreeSet<String>,
    /// The handlers by event name, each with what its attribute says and always with its topic.
    pub(crate) handlers: BTreeMap<&'static str, Vec<(u32, GroupOptions)>>,
}

impl GroupPlan {
    /// The handlers of an event on a topic: two handlers of one event in a group may listen to different topics.
    pub(crate) fn takers(&self, name: &str, topic: &str) -> Vec<(u32, GroupOptions)> {
        let named = self.handlers.get(name).into_iter().flatten();
        named.filter(|(_, options)| options.topic == Some(topic)).copied().collect()
    }
}

/// What calls, events and stored work are looked up in.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) handlers: Vec<Planned>,
    pub(crate) calls: ByType<CallEntry>,
    pub(crate) events: ByType<EventPlan>,
    pub(crate) groups: BTreeMap<&'static str, GroupPlan>,
    pub(crate) scoped: Vec<ScopedProvider>,
    pub(crate) middleware: [Chain; CallKind::ALL.len()],
    pub(crate) messages: Vec<&'static MessageSpec>,
    /// The chains, each of which is a handler too: kept to be drawn.
    pub(crate) chains: Vec<&'static ChainItem>,
    pub(crate) sagas: PlannedSagas,
    /// The circuit breakers.
    pub(crate) panel: Panel,
    pub(super) names: Names,
}

/// Message types by stored name and version.
type ByName = HashMap<(&'static str, u32), Vec<&'static MessageSpec>>;

/// What stored rows are looked up by. Made with the first of them, so that the start does not wait for it.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Commands that can be stored: several where names collide.
    commands: OnceLock<ByName>,
    /// Handlers by the two parts of their path.
    handlers: OnceLock<HashMap<(&'static str, &'static str), u32>>,
}

impl Plan {
    /// The middlewares around a kind of call.
    #[inline]
    pub(crate) fn middleware(&self, kind: CallKind) -> &Chain {
        &self.middleware[kind as usize]
    }

    pub(crate) fn plain_handlers(&self, node: &Node) -> &[u32] {
        self.event(node).map_or(&[], |plan| &plan.plain)
    }

    pub(crate) fn inline_handlers(&self, node: &Node) -> &[u32] {
        self.event(node).map_or(&[], |plan| &plan.inline)
    }

    pub(crate) fn durable_handlers(&self, node: &Node) -> &[u32] {
        self.event(node).map_or(&[], |plan| &plan.durable)
    }

    /// Whether an event has no other handlers than plain ones.
    pub(crate) fn is_plain(&self, spec: &MessageSpec) -> bool {
        self.events.get(&spec.type_id).is_none_or(|plan| plan.inline.is_empty() && plan.durable.is_empty())
    }

    /// Whether an event has any handler here.
    pub(crate) fn is_handled(&self, node: &Node) -> bool {
        self.event(node).is_some()
    }

    fn event(&self, node: &Node) -> Option<&EventPlan> {
        match node.raised() {
            Raised::Event { spec, .. } => self.events.get(&spec.type_id),
            Raised::Command(_) => None,
        }
    }

    /// The types that share a command's name and version, if there are others.
    pub(crate) fn ambiguous(&self, spec: &MessageSpec) -> Option<Vec<&'static str>> {
        let same = self.stored_commands().get(&(spec.name, spec.version))?;
        (same.len() > 1).then(|| same.iter().map(|spec| spec.type_name()).collect())
    }

    /// The command type of a stored name and version.
    pub(crate) fn stored_command(&self, name: &str, version: u32) -> Option<&'static MessageSpec> {
        self.stored_commands().get(&(name, version))?.first().copied()
    }

    fn stored_commands(&self) -> &ByName {
        self.names.commands.get_or_init(|| {
            let stored = |spec: &&&MessageSpec| spec.kind == MessageKind::Command && spec.codec.is_stored();
            let mut commands = ByName::new();
            for spec in self.messages.iter().filter(stored) {
                commands.entry((spec.name, spec.version)).or_default().push(spec);
            }
            for same in commands.values_mut() {
                same.sort_by_key(|spec| by_order(0, &spec.location, spec.name));
            }
            commands
        })
    }

    /// The durable or group handler with a path, as stored work names it.
    pub(crate) fn handler_by_path(&self, path: &str) -> Option<u32> {
        let handlers = self.names.handlers.get_or_init(|| {
            // Stored work is claimed for handlers that are stored: one of the same path that is not has no part in it.
            let stored = self.handlers.iter().map(|planned| planned.item).zip(0..).filter(|(item, _)| item.is_stored());
            let mut handlers = HashMap::new();
            for (item, number) in stored {
                handlers.entry(item.path_parts()).or_insert(number);
            }
            handlers
        });
        handlers.get(&path.rsplit_once("::")?).copied()
    }
}
