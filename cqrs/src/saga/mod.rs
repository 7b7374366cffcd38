//! Sagas: sequences of steps, each with a way back.
//!
//! `item` is what the attributes leave behind, `step` how a function becomes a step, `plan` what a running app makes of both. `machine`
//! says what follows from what; `instance` is one saga as the machine sees it and as it is stored, `migrate` makes it one of a later
//! version; `attempt` calls one function once; `engine` puts them together for as long as this process has its `hold` on a saga, through
//! any `outage` of the store, and stores what becomes of many `together`; `outcome` is how it ended, for which `bells` ring. `call` starts sagas and waits for them, `keeper` keeps the
//! events that they wait for, `operate` and `preflight` are for people who look after them, `worker` takes up those that nobody holds, and tells
//! of `strangers`. `call` and `worker` keep to the `limits` of a saga.

mod attempt;
mod bells;
mod call;
mod engine;
mod error;
mod hold;
mod instance;
pub(crate) mod item;
pub(crate) mod keeper;
mod key;
mod limits;
mod machine;
mod migrate;
mod operate;
mod outage;
mod outcome;
mod plan;
mod preflight;
pub(crate) mod step;
mod strangers;
#[cfg(test)]
mod tests;
mod together;
mod worker;

pub(crate) use self::bells::Bells;
pub use self::call::{SagaCall, SagaSteps, StepDone};
pub use self::error::{SagaError, SagaId};
pub use self::key::StepKey;
pub(crate) use self::limits::{Limits, LimitsItem, Rate};
pub use self::operate::{SagaCount, Sagas};
pub(crate) use self::outcome::stuck_for;
pub(crate) use self::plan::{PlannedSaga, PlannedSagas};
pub use self::preflight::{Preflight, Stranded};
pub use self::step::Apply;
pub(crate) use self::together::Together;
pub use self::worker::Recovery;
pub(crate) use self::worker::start;
