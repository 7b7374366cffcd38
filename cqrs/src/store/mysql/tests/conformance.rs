//! What every store promises.

use super::Place;
use crate::store::Store;
use crate::store::driver::BoxFuture;
use crate::testing::conformance::store::StoreFixture;

impl StoreFixture for Place {
    fn store(&self) -> BoxFuture<'_, Result<Store, crate::BoxError>> {
        Box::pin(std::future::ready(Ok(self.store())))
    }
}

crate::testing::store_conformance!(Place::new().await);
