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
    /// `StepKey`.
    StepKey,
    /// A transaction that keeps events for sagas; no parameter asks for it.
    Sagas,
    /// What is no parameter, which the compiler says elsewhere.
    Unknown,
}

impl Need {
    /// Which of the things that exist once per call it is. `Inject`, `&Meta` and `&App` are shared: asking twice is odd, but
    /// harmless.
    const fn once(&self) -> Option<Once> {
        match self {
            Self::Events => Some(Once::Events),
            Self::Tx { .. } | Self::Begin { .. } => Some(Once::Transaction),
            Self::Items => Some(Once::Items),
            Self::Cause => Some(Once::Cause),
            Self::Inject { .. } | Self::Meta | Self::App | Self::StepKey | Self::Sagas | Self::Unknown => None,
        }
    }
}

/// What exists once per call.
#[derive(Clone, Copy)]
enum Once {
    Events,
    Transaction,
    Items,
    Cause,
}

impl Once {
    const fn asked_for_twice(self) -> &'static str {
        match self {
            Self::Events => "this function takes its `&mut Events` twice: take it once and pass it on by reborrowing",
            Self::Transaction => {
                "this function takes its transaction twice: take it once, as `&mut Tx<Db>` or as `&mut Begin<Db>`, and pass it on by reborrowing"
            }
            Self::Items => "this function takes its `&mut Items<T>` twice: take it once and pass it on by reborrowing",
            Self::Cause => "this function takes its `Cause<E>` twice: take it once",
        }
    }
}

/// What to say where something that exists once per call is asked for twice; empty where nothing is.
#[must_use]
pub(crate) const fn asked_for_twice(needs: &[Need]) -> &'static str {
    let mut seen = [false; 4];
    let mut i = 0;
    while i < needs.len() {
        if let Some(once) = needs[i].once() {
            if seen[once as usize] {
                return once.asked_for_twice();
            }
            seen[once as usize] = true;
        }
        i += 1;
    }
    ""
}
