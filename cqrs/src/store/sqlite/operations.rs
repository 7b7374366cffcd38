//! What people who operate a service ask of the store: `find` and `operate` hold the statements.

use std::time::SystemTime;

use super::{SqliteStore, find};
use crate::store::driver::BoxFuture;
use crate::store::{
    AuditEntry, DeadLetter, DeadLetterId, DeadSearch, Operation, Operations, OutboxRow, OutboxSearch, OutboxStatus,
    Signed, StoreError, TimerFilter, TimerRecord,
};

impl Operations for SqliteStore {
    fn outbox_status(&self) -> BoxFuture<'_, Result<OutboxStatus, StoreError>> {
        Box::pin(async move { self.named(find::status(&self.pool, self.busy()).await) })
    }

    fn outbox_rows(&self, search: OutboxSearch) -> BoxFuture<'_, Result<Vec<OutboxRow>, StoreError>> {
        Box::pin(async move { self.named(find::list(&self.pool, search, &self.under_way()).await) })
    }

    fn find_dead(&self, search: DeadSearch) -> BoxFuture<'_, Result<Vec<DeadLetter>, StoreError>> {
        Box::pin(async move { self.named(find::dead(&self.pool, search).await) })
    }

    fn dead_letter(&self, id: DeadLetterId) -> BoxFuture<'_, Result<Option<DeadLetter>, StoreError>> {
        Box::pin(async move { self.named(find::letter(&self.pool, id).await) })
    }

    fn find_timers(&self, filter: TimerFilter, limit: usize) -> BoxFuture<'_, Result<Vec<TimerRecord>, StoreError>> {
        Box::pin(async move { self.named(find::timers(&self.pool, filter, limit).await) })
    }

    fn operate(&self, operation: Operation, signed: Signed) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(self.do_it(operation, signed))
    }

    fn audit(&self, before: Option<i64>, limit: usize) -> BoxFuture<'_, Result<Vec<AuditEntry>, StoreError>> {
        Box::pin(async move { self.named(find::audit(&self.pool, before, limit).await) })
    }

    fn purge_audit(&self, before: SystemTime) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(async move { self.named(find::purge_audit(&self.writer, before).await) })
    }
}
