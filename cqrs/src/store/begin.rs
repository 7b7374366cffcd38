//! A transaction's begin that leaves nothing behind where whoever waits for it gives up.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use sqlx::pool::PoolConnection;
use sqlx::{Database, SqlSafeStr, Transaction};
use tokio::runtime::Handle;

use super::driver::BoxFuture;

type Begun<DB> = Result<Transaction<'static, DB>, sqlx::Error>;

/// Begins a transaction.
///
/// sqlx counts a transaction once the server has answered. Dropped before that, its future gives back a connection that is in one,
/// and that nobody knows to be: what others do by it is stored only if somebody happens to commit, with theirs. So a begin that is
/// dropped goes on by itself, and is undone when it has ended.
pub(super) async fn begin<DB: Database>(connection: PoolConnection<DB>, statement: &'static str) -> Begun<DB> {
    Beginning(Some(Transaction::begin(connection, Some(statement.into_sql_str())))).await
}

struct Beginning<DB: Database>(Option<BoxFuture<'static, Begun<DB>>>);

impl<DB: Database> Future for Beginning<DB> {
    type Output = Begun<DB>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(begun) = &mut self.0 else { return Poll::Pending };
        let end = begun.as_mut().poll(cx);
        if end.is_ready() {
            self.0 = None;
        }
        end
    }
}

impl<DB: Database> Drop for Beginning<DB> {
    fn drop(&mut self) {
        if let Some(begun) = self.0.take()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(async move { drop(begun.await) });
        }
    }
}

/// Polls a future so often, gives it up, and tells what it gave where it had ended.
#[cfg(test)]
pub(super) async fn given_up_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    for _ in 0..polls {
        if let Poll::Ready(end) = std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await {
            return Some(end);
        }
        tokio::task::yield_now().await;
    }
    None
}
