//! Events: what handlers raise, and how plain handlers run after the commit.

mod error;
mod events;
mod node;
mod process;
mod raised;

pub use self::error::{EventError, EventErrors};
pub use self::events::{Events, Scheduled};
pub(crate) use self::node::{Cause, Node, Nodes};
pub(crate) use self::process::process;
pub(crate) use self::raised::{Raised, StoredCommand, When};
