//! What every store promises.

use super::Dir;
use crate::store::Store;
use crate::store::driver::BoxFuture;
use crate::testing::conformance::store::StoreFixture;

impl StoreFixture for Dir {
    fn store(&self) -> BoxFuture<'_, Result<Store, crate::BoxError>> {
        Box::pin(std::future::ready(Ok(self.store())))
    }
}

crate::testing::store_conformance!(Dir::new());
