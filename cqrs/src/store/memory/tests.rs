//! What every store promises, and what is the memory store's own.

use super::MemoryStore;
use crate::store::Store;
use crate::store::driver::BoxFuture;
use crate::testing::conformance::store::StoreFixture;

impl StoreFixture for MemoryStore {
    fn store(&self) -> BoxFuture<'_, Result<Store, crate::BoxError>> {
        Box::pin(std::future::ready(Ok(Store::driver(self.clone()))))
    }
}

mod conformance {
    crate::testing::store_conformance!(super::MemoryStore::new());
}
