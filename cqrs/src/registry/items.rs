//! The items themselves, and the one order in which everything discovered is looked at.

use std::any::{Any, TypeId};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::BoxError;
use crate::dispatch::DispatchError;
use crate::inject::{Resolved, Resolver};
use crate::message::{Erased, Handled, Message, MessageSpec, SourceLocation};
use crate::middleware::{Call, Next, Outcome};
use crate::policy::Policy;
use crate::registry::Need;
use crate::unit::Cx;

/// The future of a command or query handler: its result, and the call's context handed back.
pub(crate) type CallFuture<'a, M> =
    Pin<Box<dyn Future<Output = (Result<<M as Handled>::Response, <M as Handled>::Error>, Cx<'a>)> + Send + 'a>>;
/// The same of one that may fail with more than its handler's error: a chain, or a handler with a policy. Boxed, that is
/// no larger than an answer: what is handed out is copied more than once.
pub(crate) type WholeFuture<'a, M> = Pin<
    Box<
        dyn Future<Output = (Result<<M as Handled>::Response, Box<DispatchError<<M as Handled>::Error>>>, Cx<'a>)>
            + Send
            + 'a,
    >,
>;
/// The future of an event handler.
pub(crate) type EventFuture<'a> = Pin<Box<dyn Future<Output = (Result<(), BoxError>, Cx<'a>)> + Send + 'a>>;
/// The future of a provider.
pub type ProviderFuture<'a> = Pin<Box<dyn Future<Output = Result<Resolved, BoxError>> + Send + 'a>>;
/// The future of a middleware.
pub type MiddlewareFuture<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

/// Calls a command or query handler, whose number in the app's plan comes with it.
pub(crate) struct CallThunk<M: Handled>(pub(crate) for<'a> fn(M, Cx<'a>, u32) -> CallFuture<'a, M>);
/// Calls a chain, or a command or query handler with a policy.
pub(crate) struct WholeThunk<M: Handled>(pub(crate) for<'a> fn(M, Cx<'a>, u32) -> WholeFuture<'a, M>);
/// Calls an event handler.
pub(crate) type EventThunk = for<'a> fn(Erased, Cx<'a>, u32) -> EventFuture<'a>;
/// Calls a provider.
pub(crate) type ProviderThunk = for<'a> fn(Resolver<'a>) -> ProviderFuture<'a>;
/// Calls a middleware.
pub(crate) type MiddlewareThunk = for<'a> fn(Call<'a>, Next<'a>, Resolver<'a>) -> MiddlewareFuture<'a>;

/// How an event handler runs.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum EventMode {
    /// After the commit, in this process, at most once.
    Plain,
    /// Inside the unit of work that raised the event.
    Inline,
    /// Stored with the unit of work, then run at least once.
    Durable(RetryOptions),
    /// Consumed from the event's topic.
    Group(GroupOptions),
}

/// What a retry policy of an attribute says; what it leaves out comes from the settings.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct RetryOptions {
    /// How many calls in all, the first included.
    pub max: Option<u32>,
    /// The pause before the second call.
    pub first: Option<Duration>,
    /// By how much each pause grows.
    pub factor: Option<f64>,
    /// The longest pause.
    pub ceiling: Option<Duration>,
}

impl RetryOptions {
    /// Every value left to the settings.
    pub const NONE: Self = Self { max: None, first: None, factor: None, ceiling: None };

    /// A policy as an attribute wrote it.
    pub const fn new(
        max: Option<u32>,
        first: Option<Duration>,
        factor: Option<f64>,
        ceiling: Option<Duration>,
    ) -> Self {
        Self { max, first, factor, ceiling }
    }
}

/// What `#[event_handler(group = "..")]` says; what it leaves out comes from the settings or the event.
#[derive(Debug, Clone, Copy)]
pub struct GroupOptions {
    /// The consumer group.
    pub group: &'static str,
    /// The topic, where it is not the event's own.
    pub topic: Option<&'static str>,
    /// How many messages, or batches of them, at once.
    pub concurrency: Option<u32>,
    /// How many messages share a transaction, at most.
    pub batch: Option<u32>,
    /// The retry policy.
    pub retry: RetryOptions,
    /// What a dead message does to the later ones of its key.
    pub on_dead: Option<OnDead>,
    /// What happens to a name no handler of the group takes.
    pub unknown: Option<OnUnknown>,
}

impl GroupOptions {
    /// A group about which nothing else is said.
    pub(crate) const fn of(group: &'static str) -> Self {
        let (topic, concurrency, batch, on_dead, unknown) = (None, None, None, None, None);
        Self { group, topic, concurrency, batch, retry: RetryOptions::NONE, on_dead, unknown }
    }
}

/// What a dead message does to the later ones of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnDead {
    /// It holds them back until it is replayed or discarded.
    Park,
    /// They pass it.
    Skip,
}

/// What happens to a message whose name no handler of the group takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnUnknown {
    /// It is skipped and counted.
    Skip,
    /// It is kept as a dead letter.
    Dead,
}

/// Which attribute a handler carries.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum HandlerKind {
    /// `#[command_handler]`.
    Command,
    /// `#[query_handler]`.
    Query,
    /// `#[event_handler]`.
    Event(EventMode),
    /// `chain!`.
    Chain,
    /// `#[chain_link]`.
    Link,
    /// `#[fallback]`.
    Fallback,
    /// `#[saga_step]`.
    Step,
    /// `#[compensation]`.
    Compensation,
}

/// The thunk of a handler, as erased as its kind allows.
#[derive(Clone, Copy)]
pub(crate) enum Thunk {
    /// A `CallThunk<M>` or a `WholeThunk<M>`.
    Call(&'static (dyn Any + Send + Sync)),
    /// An event's.
    Event(EventThunk),
    /// That of a link or a fallback: whoever calls it knows its type.
    Part,
}

/// A handler, as its attribute registered it.
#[derive(Clone, Copy)]
pub struct HandlerItem {
    pub(crate) kind: HandlerKind,
    pub(crate) name: &'static str,
    pub(crate) location: SourceLocation,
    pub(crate) order: i32,
    pub(crate) message: &'static MessageSpec,
    pub(crate) needs: &'static [Need],
    pub(crate) thunk: Thunk,
    /// What its attribute says about its attempts.
    pub(crate) policy: Option<&'static Policy>,
    /// Its fallback.
    pub(crate) fallback: Option<&'static HandlerItem>,
}

impl HandlerItem {
    /// The same with a policy and, if it names one, a fallback.
    pub(crate) const fn guarded(mut self, policy: &'static Policy, fallback: Option<&'static Self>) -> Self {
        self.policy = Some(policy);
        self.fallback = fallback;
        self
    }

    /// A chain, a link or a fallback of messages of one type.
    pub(crate) const fn part(
        kind: HandlerKind,
        name: &'static str,
        location: SourceLocation,
        message: &'static MessageSpec,
        needs: &'static [Need],
        thunk: Thunk,
    ) -> Self {
        Self { kind, name, location, order: 0, message, needs, thunk, policy: None, fallback: None }
    }

    /// A command or query handler.
    pub(crate) const fn call(
        kind: HandlerKind,
        name: &'static str,
        location: SourceLocation,
        message: &'static MessageSpec,
        needs: &'static [Need],
        thunk: &'static (dyn Any + Send + Sync),
    ) -> Self {
        Self::part(kind, name, location, message, needs, Thunk::Call(thunk))
    }

    /// An event handler.
    pub(crate) const fn event(
        mode: EventMode,
        name: &'static str,
        location: SourceLocation,
        order: i32,
        message: &'static MessageSpec,
        needs: &'static [Need],
        thunk: EventThunk,
    ) -> Self {
        let item = Self::part(HandlerKind::Event(mode), name, location, message, needs, Thunk::Event(thunk));
        Self { order, ..item }
    }

    /// The handler's path, as stored work names it: module and function name.
    pub(crate) fn path(&self) -> String {
        format!("{}::{}", self.location.module, self.name)
    }

    /// The same in its two parts.
    pub(crate) fn path_parts(&self) -> (&'static str, &'static str) {
        (self.location.module, self.name)
    }

    /// Whether stored rows name this handler by its path.
    pub(crate) fn is_stored(&self) -> bool {
        matches!(self.kind, HandlerKind::Event(EventMode::Durable(_) | EventMode::Group(_)))
    }
}

impl fmt::Debug for HandlerItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandlerItem")
            .field("kind", &self.kind)
            .field("name", &self.name)
            .field("location", &self.location)
            .field("message", &self.message.name)
            .finish_non_exhaustive()
    }
}

/// Which life a provided value has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProviderScope {
    /// One per app.
    App,
    /// One per unit of work.
    Message,
}

/// A provider, as `#[provider]` registered it.
#[derive(Debug, Clone, Copy)]
pub struct ProviderItem {
    pub(crate) name: &'static str,
    pub(crate) location: SourceLocation,
    pub(crate) scope: ProviderScope,
    pub(crate) needs: &'static [Need],
    /// Type id of `Inject<T>` and path of `T`.
    pub(crate) provides: fn() -> (TypeId, &'static str),
    pub(crate) thunk: ProviderThunk,
}

impl ProviderItem {
    /// A provider.
    pub const fn new(
        scope: ProviderScope,
        name: &'static str,
        location: SourceLocation,
        needs: &'static [Need],
        provides: fn() -> (TypeId, &'static str),
        thunk: ProviderThunk,
    ) -> Self {
        Self { name, location, scope, needs, provides, thunk }
    }
}

/// The kinds of call a middleware applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "one flag per word that `kinds = [..]` accepts")]
pub struct MiddlewareKinds {
    /// `command`.
    pub command: bool,
    /// `query`.
    pub query: bool,
    /// `stream`.
    pub stream: bool,
    /// `event`.
    pub event: bool,
    /// `step`.
    pub step: bool,
}

impl MiddlewareKinds {
    /// Every kind: what `#[middleware]` without `kinds` means.
    pub const ALL: Self = Self { command: true, query: true, stream: true, event: true, step: true };
    /// No kind: the start of a list.
    pub const NONE: Self = Self { command: false, query: false, stream: false, event: false, step: false };
}

/// A middleware, as `#[middleware]` registered it.
#[derive(Debug, Clone, Copy)]
pub struct MiddlewareItem {
    pub(crate) name: &'static str,
    pub(crate) location: SourceLocation,
    pub(crate) order: i32,
    pub(crate) kinds: MiddlewareKinds,
    pub(crate) needs: &'static [Need],
    pub(crate) thunk: MiddlewareThunk,
}

impl MiddlewareItem {
    /// A middleware.
    pub const fn new(
        name: &'static str,
        location: SourceLocation,
        order: i32,
        kinds: MiddlewareKinds,
        needs: &'static [Need],
        thunk: MiddlewareThunk,
    ) -> Self {
        Self { name, location, order, kinds, needs, thunk }
    }
}

/// A message type, as its derive registered it; generic types register nothing.
#[derive(Debug, Clone, Copy)]
pub struct MessageItem(pub(crate) &'static MessageSpec);

impl MessageItem {
    /// A message type.
    pub const fn of<M: Message>() -> Self {
        Self(M::SPEC)
    }
}

/// A link of a chain, as `#[chain_link]` registered it.
#[derive(Debug, Clone, Copy)]
pub struct LinkItem(pub(crate) &'static HandlerItem);

impl LinkItem {
    /// A link.
    pub const fn new(item: &'static HandlerItem) -> Self {
        Self(item)
    }
}

/// A chain, as `chain!` registered it.
#[derive(Debug, Clone, Copy)]
pub struct ChainItem {
    /// The handler that the chain is to everybody else.
    pub(crate) item: HandlerItem,
    /// The links, in the order in which they are asked.
    pub(crate) links: fn() -> Vec<&'static HandlerItem>,
    /// The path of the type it answers with.
    pub(crate) response: fn() -> &'static str,
    /// The path of the type it fails with.
    pub(crate) error: fn() -> &'static str,
}

impl ChainItem {
    pub(crate) const fn new<M: Handled>(item: HandlerItem, links: fn() -> Vec<&'static HandlerItem>) -> Self {
        let (response, error) = (std::any::type_name::<M::Response>, std::any::type_name::<M::Error>);
        Self { item, links, response, error }
    }
}

inventory::collect!(HandlerItem);
inventory::collect!(LinkItem);
inventory::collect!(ChainItem);
inventory::collect!(ProviderItem);
inventory::collect!(MiddlewareItem);
inventory::collect!(MessageItem);

/// The key of the one order in which everything discovered is looked at: `order`, then module path, then line.
pub(crate) fn by_order(order: i32, location: &SourceLocation, name: &'static str) -> impl Ord + use<> {
    (order, location.module, location.line, name)
}
