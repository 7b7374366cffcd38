//! The messages that the services share, and the log their handlers write to.

use std::sync::{Mutex, PoisonError};

use cqrs::prelude::*;

/// What the handlers did, in order.
#[derive(Debug, Default)]
pub struct Log(Mutex<Vec<String>>);

impl Log {
    /// Notes that something was done.
    pub fn note(&self, what: impl Into<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(what.into());
    }

    /// Takes what was noted.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Handled in `billing`.
#[derive(Command, Debug)]
#[command(response = u64, error = std::num::TryFromIntError)]
pub struct Invoice {
    /// The amount, which may not be negative.
    pub cents: i64,
}

/// Handled in `shipping`.
#[derive(Command, Debug)]
pub struct Ship {
    /// What is shipped.
    pub parcel: u64,
}

/// Handled in `shipping`.
#[derive(Query, Debug)]
#[query(response = String, error = std::convert::Infallible)]
pub struct Track(pub u64);

/// Handled in `shipping`, streaming.
#[derive(Query, Debug)]
#[query(item = u64)]
pub struct Parcels {
    /// How many.
    pub count: u64,
}

/// Handled by a chain with links of `billing` and `shipping`.
#[derive(Command, Debug, Clone)]
#[command(response = &'static str, error = cqrs::BoxError)]
pub struct Settle {
    /// The amount.
    pub cents: u64,
}

/// Handled in `unlinked`.
#[derive(Command, Debug)]
pub struct Archive;

/// Raised in `shipping`, handled in both.
#[derive(DomainEvent, Debug)]
pub struct Shipped {
    /// What was shipped.
    pub parcel: u64,
}

macro_rules! numbered {
    ($($name:ident)*) => {$(
        #[doc = concat!("One of many: handled in `shipping` too: ", stringify!($name), ".")]
        #[derive(Command, Debug)]
        #[command(response = &'static str)]
        pub struct $name;
    )*};
}

numbered!(N00 N01 N02 N03 N04 N05 N06 N07 N08 N09 N10 N11 N12 N13 N14 N15 N16 N17 N18 N19);
