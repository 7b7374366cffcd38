//! A store of another database, as far as a check of the wiring, or an app that stores nothing, gets to know it.

use std::any::{Any, TypeId};
use std::sync::Arc;

use cqrs::store::driver::{BoxFuture, Driver, Gift, HandleSpec, Transaction};
use tokio::sync::Notify;

/// Lends transactions that are no `Tx<Sqlite>`.
#[derive(Debug, Default)]
pub struct Foreign {
    /// Told when the store is closed.
    pub closed: Arc<Notify>,
}

impl Driver for Foreign {
    fn name(&self) -> &'static str {
        "foreign"
    }

    fn handle(&self) -> Option<HandleSpec> {
        Some(HandleSpec { type_id: TypeId::of::<Self>(), name: "sqlx::Foreign" })
    }

    fn gifts(&self) -> Vec<Gift> {
        Vec::new()
    }

    fn adopt(&self, handle: Box<dyn Any + Send>) -> Result<Box<dyn Transaction>, Box<dyn Any + Send>> {
        Err(handle)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async { self.closed.notify_one() })
    }

    cqrs_tests::never_called! { begin() -> Box<dyn Transaction>; }

    cqrs_tests::nothing_is_stored! {}
}
