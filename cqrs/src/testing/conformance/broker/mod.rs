//! What every broker must do, as cases over a [`Driver`].
//!
//! Say how the broker is reached with a [`Fixture`], and let [`broker_conformance!`](crate::broker_conformance) make one
//! test of each case:
//!
//! ```
//! use std::sync::Arc;
//!
//! use cqrs::broker::MemoryBroker;
//! use cqrs::broker::driver::Driver;
//! use cqrs::testing::conformance::broker::Fixture;
//!
//! struct Memory(MemoryBroker);
//!
//! impl Fixture for Memory {
//!     fn connect(&self) -> Arc<dyn Driver> {
//!         Arc::new(self.0.clone())
//!     }
//! }
//!
//! cqrs::broker_conformance!(Memory(MemoryBroker::new()));
//! ```
//!
//! Every case uses topics and groups of its own, with random names, so that they may run at once on a broker that others
//! use too. What a case finds wrong it says in a panic.
//!
//! The rules the cases hold a driver to, beside what [`driver`](crate::broker::driver) says: a member may be handed
//! several messages of a key at once, in their order, but nobody is handed a later message of a key while somebody else
//! holds an earlier one. A returned message comes again before every message of its key that was not handed out yet. A
//! new group gets what is published after `subscribe` has returned; what was published before is the broker's own affair.

mod cases;
mod ledger;
mod rebalance;
mod scene;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use self::cases::{
    answers_for_each_message_when_it_is_closed, carries_everything_exactly, checks_that_a_topic_is_there,
    confirms_each_message_of_a_batch, delivers_again_what_is_returned, delivers_again_what_was_held_at_close,
    delivers_again_what_was_held_when_dropped, gives_everything_to_each_group, keeps_the_order_of_each_key,
    keeps_within_the_prefetch, never_delivers_again_what_is_done, receiving_can_be_given_up, refuses_what_is_too_large,
};
pub use self::rebalance::{
    loses_nothing_when_members_come_and_go, members_share_a_topic_and_keep_the_order, survives_a_restart,
};
use crate::broker::driver::Driver;
use crate::store::driver::BoxFuture;

/// How the cases reach a broker.
pub trait Fixture: Send + Sync + 'static {
    /// Makes a driver of its own to the broker, as another process would have it. Topics that are missing are made.
    fn connect(&self) -> Arc<dyn Driver>;

    /// Makes a driver that refuses to use topics that are missing, for [`checks_that_a_topic_is_there`].
    fn connect_checking(&self) -> Option<Arc<dyn Driver>> {
        None
    }

    /// The size of a payload that the broker refuses, for [`refuses_what_is_too_large`].
    fn too_large(&self) -> Option<usize> {
        None
    }

    /// Restarts the broker, for [`survives_a_restart`]. Gives back when it has gone down; it need not be up again.
    fn restart(&self) -> Option<BoxFuture<'_, ()>> {
        None
    }

    /// How long a case may take.
    fn patience(&self) -> Duration {
        Duration::from_mins(2)
    }
}

/// Puts a broker through one case, on a runtime of its own.
///
/// ```
/// # use std::sync::Arc;
/// use cqrs::broker::MemoryBroker;
/// # use cqrs::broker::driver::Driver;
/// use cqrs::testing::conformance::broker::{self, Fixture};
/// # struct Memory(MemoryBroker);
/// # impl Fixture for Memory {
/// #     fn connect(&self) -> Arc<dyn Driver> {
/// #         Arc::new(self.0.clone())
/// #     }
/// # }
///
/// broker::run(async { Memory(MemoryBroker::new()) }, broker::keeps_within_the_prefetch);
/// ```
///
/// # Panics
/// Panics when the broker does not do what the case asks for, or takes longer than [`Fixture::patience`].
pub fn run<F: Fixture>(fixture: impl Future<Output = F>, case: impl AsyncFnOnce(&dyn Fixture)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.unwrap_or_else(|error| fail(format_args!("no runtime: {error}")));
    runtime.block_on(async {
        let fixture = fixture.await;
        let patience = fixture.patience();
        if tokio::time::timeout(patience, case(&fixture)).await.is_err() {
            fail(format_args!("the case has not ended within {patience:?}"));
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(5));
}

/// Ends a case that has failed.
#[expect(clippy::panic, reason = "a case that fails is a test that fails")]
#[track_caller]
fn fail(what: fmt::Arguments<'_>) -> ! {
    panic!("{what}")
}

/// Makes one `#[test]` of each case of [`testing::conformance::broker`](crate::testing::conformance::broker).
///
/// The fixture is an expression, which may `.await`; it is evaluated once for each test. The cases that not every broker
/// can be put through are named behind it:
///
/// ```
/// # use std::sync::Arc;
/// # use cqrs::broker::MemoryBroker;
/// # use cqrs::broker::driver::Driver;
/// # use cqrs::testing::conformance::broker::Fixture;
/// # struct Mine;
/// # impl Fixture for Mine {
/// #     fn connect(&self) -> Arc<dyn Driver> {
/// #         Arc::new(MemoryBroker::new())
/// #     }
/// # }
/// cqrs::broker_conformance!(Mine; refuses_what_is_too_large, checks_that_a_topic_is_there, survives_a_restart);
/// ```
#[macro_export]
macro_rules! broker_conformance {
    ($fixture:expr $(; $($more:ident),* $(,)?)?) => {
        $crate::broker_conformance!(
            @cases $fixture;
            confirms_each_message_of_a_batch,
            carries_everything_exactly,
            keeps_the_order_of_each_key,
            gives_everything_to_each_group,
            members_share_a_topic_and_keep_the_order,
            delivers_again_what_is_returned,
            delivers_again_what_was_held_at_close,
            delivers_again_what_was_held_when_dropped,
            never_delivers_again_what_is_done,
            keeps_within_the_prefetch,
            receiving_can_be_given_up,
            answers_for_each_message_when_it_is_closed,
            loses_nothing_when_members_come_and_go
            $($(, $more)*)?
        );
    };
    (@cases $fixture:expr; $($case:ident),*) => {
        $(
            #[test]
            fn $case() {
                $crate::testing::conformance::broker::run(
                    async { $fixture },
                    $crate::testing::conformance::broker::$case,
                );
            }
        )*
    };
}
