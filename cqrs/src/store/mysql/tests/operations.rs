//! What people who operate a service do.

use super::*;
use crate::store::operations::tests::nothing_is_done_that_cannot_be_written_down;

#[tokio::test]
async fn what_is_done_is_written_down_in_its_transaction() {
    let (_place, store) = fresh().await;
    nothing_is_done_that_cannot_be_written_down(&store, run_on(&store, "RENAME TABLE cqrs_audit TO hidden")).await;
}
