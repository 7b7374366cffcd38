//! The call whose handler is being polled on this thread.
//!
//! What the handler sends through `&App` is caused by that call: it carries its correlation. A task the handler spawns is
//! not seen, and starts a correlation of its own.
//!
//! A handler's parameters announce it when they are taken; from then on every poll of the handler puts it in place, and
//! takes it away again. Handlers that ask for nothing of a unit of work announce nothing, and pay nothing.

use std::cell::RefCell;
use std::sync::Arc;

use crate::app::Running;
use crate::unit::{Meta, MetaInit};

thread_local! {
    static CURRENT: RefCell<Option<Current>> = const { RefCell::new(None) };
}

/// A call whose handler has begun and not ended.
pub(crate) struct Current {
    meta: Arc<Meta>,
    /// Names the handler where stopping takes too long.
    _running: Option<Running>,
}

/// Announces the call whose handler is being polled.
pub(crate) fn announce(meta: &Arc<Meta>, running: Option<Running>) {
    swap(Some(Current { meta: Arc::clone(meta), _running: running }));
}

/// What is known about a call that begins here: the handler being polled, if there is one, is what caused it.
pub(crate) fn caused_here() -> MetaInit {
    let parent = CURRENT.with_borrow(|current| current.as_ref().map(|current| Arc::clone(&current.meta)));
    MetaInit { parent, ..MetaInit::default() }
}

/// Puts a call in place; gives the one that was there.
pub(super) fn swap(current: Option<Current>) -> Option<Current> {
    CURRENT.replace(current)
}
