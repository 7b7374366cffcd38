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

/// Under names of one's own: tables with a prefix, in a schema that the connection does not look in by itself.
mod named {
    use super::*;

    struct Named(Schema);

    impl StoreFixture for Named {
        fn store(&self) -> BoxFuture<'_, Result<Store, BoxError>> {
            let schema = format!("{}_own", self.0.name);
            Box::pin(async move { Ok(Store::url(self.0.url()).schema(schema).prefix("shop_")) })
        }
    }

    crate::testing::store_conformance!(Named(Schema::new().await));
}
