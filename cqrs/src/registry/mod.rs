//! What the attributes and derives leave behind at link time: one item per handler, provider, middleware and message.
//!
//! Items are inert constants. [`wiring`](crate::wiring) reads them once, in a deterministic order, and judges them.

mod items;
mod need;

pub use self::items::{
    CallFuture, CallThunk, EventFuture, EventMode, EventThunk, GroupOptions, HandlerItem, HandlerKind, MessageItem,
    MiddlewareFuture, MiddlewareItem, MiddlewareKinds, OnDead, OnUnknown, ProviderFuture, ProviderItem, ProviderScope,
    RetryOptions, TypedFuture, TypedThunk,
};
pub(crate) use self::items::{Thunk, by_order};
pub use self::need::Need;
pub(crate) use self::need::needs_are_unique;
