//! What every store promises.

use super::Schema;
use crate::BoxError;
use crate::store::Store;
use crate::store::driver::BoxFuture;
use crate::testing::conformance::store::StoreFixture;

impl StoreFixture for Schema {
    fn store(&self) -> BoxFuture<'_, Result<Store, BoxError>> {
        Box::pin(async { Ok(Store::url(self.url())) })
    }
}

crate::testing::store_conformance!(Schema::new().await);
