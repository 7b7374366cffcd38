//! What the attributes and derives leave behind at link time: one item per handler, provider, middleware and message.
//!
//! Items are inert constants. [`wiring`](crate::wiring) reads them once, in a deterministic order, and judges them.

mod items;
mod need;

pub(crate) use self::items::{CallFuture, CallThunk, EventFuture, Thunk, WholeFuture, WholeThunk, by_order};
pub use self::items::{
    ChainItem, EventMode, GroupOptions, HandlerItem, HandlerKind, LinkItem, MessageItem, MiddlewareFuture,
    MiddlewareItem, MiddlewareKinds, OnDead, OnUnknown, ProviderFuture, ProviderItem, ProviderScope, RetryOptions,
};
pub use self::need::Need;
pub(crate) use self::need::asked_for_twice;
