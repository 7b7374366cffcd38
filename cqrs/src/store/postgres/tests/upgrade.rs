//! A database that an older program has filled, with whatever of our migrations it knew.

use super::*;
use crate::store::tests::{all_goes_on, keys_are_known};

#[tokio::test]
async fn what_an_older_program_left_goes_on() {
    for known in 1.. {
        let schema = Schema::new().await;
        let old = PostgresStore::connect(Store::url(schema.url())).await.unwrap();
        let mut migrator = old.migrations();
        let newest = migrator.iter().count();
        migrator.migrations.to_mut().truncate(known);
        migrator.run_direct(None, &mut *old.pool.acquire().await.unwrap(), false).await.unwrap();
        run_sql(&old.pool, include_str!("filled/messages.sql")).await;
        old.close().await;
        let store = schema.open().await;
        assert_eq!(number(&store.pool, "SELECT COUNT(*) FROM _cqrs_migrations").await, i64::try_from(newest).unwrap());
        all_goes_on(&store).await;
        keys_are_known(&store).await;
        if known == newest {
            break;
        }
    }
}
