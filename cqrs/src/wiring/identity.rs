//! Hashing type ids: they are hashes already.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

/// Passes a type id through.
#[derive(Debug, Default)]
pub(crate) struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // A type id hashes itself with `write_u64` today; should that change, still hash.
        for byte in bytes {
            self.0 = self.0.rotate_left(5) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, id: u64) {
        self.0 = id;
    }
}

/// A set of types.
pub(crate) type Types = HashSet<std::any::TypeId, BuildHasherDefault<Identity>>;

/// A map by type.
pub(crate) type ByType<V> = HashMap<std::any::TypeId, V, BuildHasherDefault<Identity>>;
