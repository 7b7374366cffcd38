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

/// Under names of one's own: tables with a prefix.
mod named {
    use super::*;

    struct Named(Place);

    impl StoreFixture for Named {
        fn store(&self) -> BoxFuture<'_, Result<Store, crate::BoxError>> {
            Box::pin(std::future::ready(Ok(self.0.store().prefix("shop_"))))
        }
    }

    crate::testing::store_conformance!(Named(Place::new().await));
}
