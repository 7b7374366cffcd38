//! Circuit breakers: what keeps a call from a handler that fails again and again.
//!
//! `machine` is one breaker's state and what each input makes of it, without a clock; `policy` is what an attribute says.
//! `memory` keeps a machine in this process; with the feature `redis`, `redis` keeps it where all processes see it. A
//! `Panel` holds the breakers of an app, of either place; a call asks its `Breaker` to be let in, and reports by the
//! `Permit` it is given. Whether an error counts is the caller's business.

mod breakers;
mod declared;
mod machine;
mod memory;
mod panel;
mod policy;
#[cfg(feature = "redis")]
mod redis;
mod state;

pub use self::breakers::Breakers;
pub(crate) use self::declared::{Declared, key, policies, problems};
pub(crate) use self::panel::{Breaker, Open, Panel, Permit, Ticket};
pub use self::policy::BreakerOptions;
pub(crate) use self::policy::BreakerPolicy;
pub use self::state::{BreakerPhase, BreakerState};
