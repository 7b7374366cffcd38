//! Remembers the events of committed units, for tests.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::event::{Node, Raised};
#[cfg(feature = "testing")]
use crate::message::Event;

/// Remembers the events of committed units, where somebody asked for it.
#[derive(Clone, Default)]
pub(crate) struct Recorder(Option<Arc<Mutex<Vec<Raised>>>>);

impl Recorder {
    #[cfg(feature = "testing")]
    pub(crate) fn on() -> Self {
        Self(Some(Arc::default()))
    }

    pub(crate) fn note(&self, nodes: &[Node]) {
        if let Some(list) = &self.0 {
            let mut list = list.lock().unwrap_or_else(PoisonError::into_inner);
            list.extend(nodes.iter().map(|node| node.raised().clone()));
        }
    }

    /// The events of a type, in order.
    #[cfg(feature = "testing")]
    pub(crate) fn events<E: Event>(&self) -> Vec<Arc<E>> {
        let Some(list) = &self.0 else { return Vec::new() };
        let list = list.lock().unwrap_or_else(PoisonError::into_inner);
        list.iter()
            .filter_map(|raised| match raised {
                Raised::Event { value, .. } => Arc::clone(value).downcast().ok(),
                Raised::Command(_) => None,
            })
            .collect()
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Recorder").field(&self.0.is_some()).finish()
    }
}
