//! Tests on a real server: `CQRS_TEST_NATS_URL` names it.

use std::sync::Arc;

use super::NatsBroker;
use crate::broker::driver::Driver;
use crate::broker::options::{BrokerOptions, Declare};

#[cfg(feature = "testing")]
mod conformance;
mod server;

/// The server of the tests.
fn url() -> String {
    std::env::var("CQRS_TEST_NATS_URL").unwrap_or_else(|_| {
        panic!("`CQRS_TEST_NATS_URL` names no NATS server with JetStream; `tests/services up` starts one, or: nats-server -js")
    })
}

fn options(declare: Declare) -> BrokerOptions {
    BrokerOptions { declare, ..BrokerOptions::default() }
}

fn broker(url: &str, options: BrokerOptions) -> Arc<dyn Driver> {
    Arc::new(NatsBroker::new(url, options).unwrap())
}
