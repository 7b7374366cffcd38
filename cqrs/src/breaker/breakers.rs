//! Naming where breakers are kept. No I/O happens here.

use std::fmt;

/// Where the state of an app's circuit breakers is kept: in the process, or in Redis for all its processes.
///
/// Inert: nothing is connected before a call asks a breaker.
///
/// ```
/// use cqrs::Breakers;
///
/// let breakers = Breakers::memory();      // what an app has that says nothing
/// assert_eq!(breakers.kind(), "memory");
/// ```
#[derive(Clone)]
pub struct Breakers(pub(super) Source);

#[derive(Clone)]
pub(super) enum Source {
    Memory,
}

impl Breakers {
    /// Keeps them in the process: each process has breakers of its own.
    pub fn memory() -> Self {
        Self(Source::Memory)
    }

    /// Where they are kept, in a word.
    pub fn kind(&self) -> &'static str {
        match self.0 {
            Source::Memory => "memory",
        }
    }
}

impl Default for Breakers {
    fn default() -> Self {
        Self::memory()
    }
}

impl fmt::Debug for Breakers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breakers").field("kind", &self.kind()).finish_non_exhaustive()
    }
}
