//! A file that an older program has filled, with whatever of our migrations it knew.

use super::*;
use crate::store::sqlite::migrate;
use crate::store::tests::{all_goes_on, keys_are_known};

/// As the program wrote it that claimed events row by row.
const CLAIMED: &str =
    "UPDATE cqrs_outbox SET state = 'claimed', owner = 'gone', lease_until = raised_at WHERE name = 'first'";

#[tokio::test]
async fn what_an_older_program_left_goes_on() {
    let newest = migrate::migrator().iter().count();
    for known in 1..=newest {
        let dir = Dir::new();
        let old = SqliteStore::connect(dir.store()).await.unwrap();
        let mut migrator = migrate::migrator();
        migrator.migrations.to_mut().truncate(known);
        let mut connection = old.writer.acquire().await.unwrap();
        migrator.run_direct(None, &mut *connection, false).await.unwrap();
        let is_by_row = known < 6;
        let (keys, claimed) = (include_str!("filled/idempotent.sql"), CLAIMED);
        let mut filled = vec![include_str!("filled/messages.sql")];
        filled.extend((known >= 2).then_some(keys).into_iter().chain(is_by_row.then_some(claimed)));
        for sql in filled {
            sqlx::raw_sql(sql).execute(&mut *connection).await.unwrap();
        }
        drop(connection);
        old.close().await;
        let store = dir.open().await;
        assert_eq!(number(&store.pool, "SELECT COUNT(*) FROM _cqrs_migrations").await, i64::try_from(newest).unwrap());
        all_goes_on(&store).await;
        if known >= 2 {
            keys_are_known(&store).await;
        }
    }
}
