//! What surrounds the attempts at a handler: breaker(retry(timeout(handler))), and the fallback after them.
//!
//! An attribute says it in constants ([`Policy`]); wiring turns them into what a running app uses (`planned`). `run` makes
//! the attempts, `outcome` says which errors count, `fallback` calls the second handler with the [`Cause`], `undo` takes
//! back what a failed attempt wrote and raised, `deadline` bounds one attempt. Nothing here knows what kind of handler it is
//! around: commands, queries, streams, events and links of a chain share it.

mod cause;
mod deadline;
mod fallback;
mod item;
mod outcome;
mod planned;
mod run;
mod undo;

pub use self::cause::Cause;
pub(crate) use self::deadline::Progress;
pub use self::fallback::{AnswersTo, Backed, Backup, Fallback, FitsCause, Lent, NoFallback};
pub use self::item::{HasPolicy, Policy};
pub use self::outcome::{Attempted, Counts, EveryError, Fails};
pub(crate) use self::planned::PlannedPolicy;
pub(crate) use self::run::{Kept, run};
pub(crate) use self::undo::enter;
