//! What a handler's parameters ask for, as constants the wiring pass can check.

use std::any::TypeId;

/// One parameter's demand.
#[derive(Debug, Clone, Copy)]
pub enum Need {
    /// `Inject<T>`.
    Inject {
        /// The type id of `Inject<T>` (not of `T`, which may be unsized).
        type_id: TypeId,
        /// The path of `T`.
        name: fn() -> &'static str,
    },
    /// `&mut Events`.
    Events,
    /// `&mut Tx<Db>`.
    Tx {
        /// The type id of `Tx<Db>`.
        type_id: TypeId,
        /// The path of `Db`.
        name: fn() -> &'static str,
    },
    /// `&mut Begin<Db>`.
    Begin {
        /// The type id of `Tx<Db>`.
        type_id: TypeId,
        /// The path of `Db`.
        name: fn() -> &'static str,
    },
    /// `&Meta`.
    Meta,
    /// `&App`.
    App,
    /// `&mut Items<T>`.
    Items,
    /// `Cause<E>`.
    Cause,
    /// What is no parameter, which the compiler says elsewhere.
    Unknown,
}

impl Need {
    const fn slot(&self) -> u8 {
        match self {
            Self::Inject { .. } => 0,
            Self::Events => 1,
            Self::Tx { .. } | Self::Begin { .. } => 2,
            Self::Meta => 3,
            Self::App => 4,
            Self::Items => 5,
            Self::Cause => 6,
            Self::Unknown => 7,
        }
    }
}

/// Whether no parameter that exists once per call is asked for twice (`&mut Tx` beside `&mut Begin` counts as twice).
#[must_use]
pub(crate) const fn needs_are_unique(needs: &[Need]) -> bool {
    let mut seen = [false; 7];
    let mut i = 0;
    while i < needs.len() {
        let slot = needs[i].slot() as usize;
        // `Inject`, `&Meta` and `&App` are shared: asking twice is odd, but harmless.
        if matches!(slot, 1 | 2 | 5 | 6) {
            if seen[slot] {
                return false;
            }
            seen[slot] = true;
        }
        i += 1;
    }
    true
}
