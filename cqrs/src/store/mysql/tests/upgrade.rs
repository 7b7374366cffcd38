//! A database that an older program has filled, with whatever of our migrations it knew.

use super::*;
use crate::store::tests::{all_goes_on, keys_are_known};

#[tokio::test]
async fn what_an_older_program_left_goes_on() {
    for known in 1.. {
        let place = Place::new().await;
        let old = MySqlStore::connect(place.store()).await.unwrap();
        let mut migrator = old.ours();
        let newest = migrator.iter().count();
        migrator.migrations.to_mut().truncate(known);
        migrator.run_direct(None, &mut *old.pool.acquire().await.unwrap(), false).await.unwrap();
        run_on(&old, include_str!("filled/messages.sql")).await;
        old.close().await;
        let store = place.open().await;
        assert_eq!(number(&store, "SELECT COUNT(*) FROM _cqrs_migrations").await, i64::try_from(newest).unwrap());
        all_goes_on(&store).await;
        keys_are_known(&store).await;
        if known == newest {
            break;
        }
    }
}
