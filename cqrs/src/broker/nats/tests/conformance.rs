//! What every broker must do, on a server of the test's own: one of the cases restarts it.

use std::sync::Arc;

use super::server::Server;
use super::{broker, options};
use crate::broker::driver::Driver;
use crate::broker::options::Declare;
use crate::store::driver::BoxFuture;
use crate::testing::conformance::broker::Fixture;

struct Nats(Server);

impl Fixture for Nats {
    fn connect(&self) -> Arc<dyn Driver> {
        broker(&self.0.url(), options(Declare::Create))
    }

    fn connect_checking(&self) -> Option<Arc<dyn Driver>> {
        Some(broker(&self.0.url(), options(Declare::Check)))
    }

    fn too_large(&self) -> Option<usize> {
        Some(1024 * 1024 + 1)
    }

    fn restart(&self) -> Option<BoxFuture<'_, ()>> {
        Some(Box::pin(async {
            self.0.down();
            self.0.up().await;
        }))
    }
}

crate::broker_conformance!(
    Nats(Server::start().await);
    refuses_what_is_too_large, checks_that_a_topic_is_there, survives_a_restart,
);
