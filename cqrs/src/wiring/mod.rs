//! Wiring: one pass over everything discovered, which finds every problem and, without one, makes the plan.
//!
//! Pure: no I/O, no provider is run. `draft` is what the registry and the builder hold, `check` judges it, `parts` finds the
//! links and fallbacks that handlers name, `problem` says what is wrong, `sources` finds where dependencies come from, `resolve` makes them, `plan` is what calls are looked up in.

mod check;
mod draft;
mod identity;
mod parts;
mod plan;
mod problem;
mod resolve;
mod sagas;
mod sources;

pub(crate) use self::check::{breakers, wire};
pub(crate) use self::draft::{Draft, Supply, SupplyKind};
pub(crate) use self::plan::{CallEntry, Plan, Planned};
pub use self::problem::{Place, Problem, ProblemKind, WiringError};
