//! The call whose handler is being polled on this thread.
//!
//! A handler's parameters announce it when they are taken; from then on every poll of the handler puts it in place, and
//! takes it away again. Handlers that ask for nothing of a unit of work announce nothing, and pay nothing.

use std::cell::RefCell;

use crate::app::Running;

thread_local! {
    static CURRENT: RefCell<Option<Current>> = const { RefCell::new(None) };
}

/// A call whose handler has begun and not ended.
pub(crate) struct Current {
    /// Names the handler where stopping takes too long.
    _running: Option<Running>,
}

/// Announces the call whose handler is being polled.
pub(crate) fn announce(running: Option<Running>) {
    swap(Some(Current { _running: running }));
}

/// Puts a call in place; gives the one that was there.
pub(super) fn swap(current: Option<Current>) -> Option<Current> {
    CURRENT.replace(current)
}
