//! Bells for those who wait for sagas.

use std::hash::{DefaultHasher, Hash, Hasher};

use tokio::sync::Notify;

const COUNT: u16 = 256;

/// See the module.
#[derive(Debug)]
pub(crate) struct Bells {
    /// One for few sagas, so that what one of them does does not wake all who wait for others.
    of_sagas: Box<[Notify]>,
    /// For the worker that takes sagas up: one was let go, and may be due before anything else.
    pub(crate) let_go: Notify,
}

impl Default for Bells {
    fn default() -> Self {
        Self { of_sagas: (0..COUNT).map(|_| Notify::new()).collect(), let_go: Notify::new() }
    }
}

impl Bells {
    /// That of a saga.
    pub(crate) fn of(&self, id: &str) -> &Notify {
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        let at = u16::try_from(hasher.finish() % u64::from(COUNT)).unwrap_or_default();
        &self.of_sagas[usize::from(at)]
    }
}
