//! What people who operate a service do.

use super::*;
use crate::store::operations::tests::nothing_is_done_that_cannot_be_written_down;

#[tokio::test]
async fn what_is_done_is_written_down_in_its_transaction() {
    let (_dir, store) = fresh().await;
    let hide = async {
        sqlx::query("ALTER TABLE cqrs_audit RENAME TO hidden").execute(&store.writer).await.unwrap();
    };
    nothing_is_done_that_cannot_be_written_down(&store, hide).await;
}
