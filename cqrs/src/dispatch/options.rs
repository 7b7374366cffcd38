//! What a caller may say about one call.

use std::any::Any;
use std::time::Duration;

use super::current;
use super::idempotent::Key;
use crate::unit::{Home, MetaInit};

/// What a caller said about one call; most say nothing.
pub(crate) struct CallOptions<'a> {
    pub(crate) timeout: Option<Duration>,
    pub(crate) meta: MetaInit,
    pub(crate) within: Option<Within<'a>>,
    pub(crate) key: Option<Key>,
    /// Whose key it is.
    pub(crate) key_scope: Option<String>,
}

impl Default for CallOptions<'_> {
    /// What a caller says without a word: that the handler it is being polled in, if any, caused the call.
    fn default() -> Self {
        Self { timeout: None, meta: current::caused_here(), within: None, key: None, key_scope: None }
    }
}

/// A transaction lent by the handler that makes the call.
pub(crate) struct Within<'a> {
    tx: Option<Box<dyn Any + Send>>,
    home: Option<&'a mut dyn Home>,
}

impl<'a> Within<'a> {
    /// `tx` is what was taken out of `home`.
    pub(crate) fn new(tx: Box<dyn Any + Send>, home: &'a mut dyn Home) -> Self {
        Self { tx: Some(tx), home: Some(home) }
    }

    pub(crate) fn take(mut self) -> Option<(Box<dyn Any + Send>, &'a mut dyn Home)> {
        Some((self.tx.take()?, self.home.take()?))
    }
}

impl Drop for Within<'_> {
    fn drop(&mut self) {
        // The call was dropped before it began.
        if let (Some(tx), Some(home)) = (self.tx.take(), self.home.take()) {
            home.put_back(tx);
        }
    }
}
