//! The unit of work's transaction, as a handler sees it.

use std::fmt;
use std::ops::{Deref, DerefMut};

use sqlx::pool::Pool;
use sqlx::{Connection, Database, Transaction};
use sqlx_core::transaction::TransactionManager;

use crate::event::Node;
use crate::store::StoreError;

/// The transaction of the unit of work: begun, committed and rolled back by the framework.
///
/// Derefs to the database's connection: pass `tx` where a `&mut SqliteConnection` is asked for, and `&mut **tx` where
/// sqlx wants an executor. [`savepoint`](Self::savepoint) gives a nested transaction.
///
/// Made by hand, with [`begin`](Self::begin) and [`commit`](Self::commit), it lets a test call a handler as an ordinary
/// function; nothing is flushed then: events raised beside it stay in the test's [`Events`](crate::Events).
pub struct Tx<Db: Database> {
    inner: Option<Transaction<'static, Db>>,
    /// Events of calls made `within` this transaction, handed over when their savepoint was released.
    pub(crate) carried: Carried,
    /// Whether a savepoint was asked for: one that is dropped is undone some time later, which has to be waited for.
    nested: bool,
    /// How deep in savepoints the transaction will be once the last release that was asked for has happened; dropped
    /// before it was sent, it still has to.
    owed: Option<usize>,
}

/// What calls made within a transaction raised, until the unit that owns the transaction takes it over.
#[doc(hidden)]
#[derive(Debug, Default)]
pub struct Carried(pub(crate) Vec<Node>);

impl<Db: Database> Tx<Db> {
    /// Begins a transaction by hand, for calling a handler as an ordinary function.
    ///
    /// # Errors
    /// Fails when the pool gives no connection or the database refuses to begin.
    pub async fn begin(pool: &Pool<Db>) -> Result<Self, StoreError> {
        Ok(Self::new(pool.begin().await.map_err(StoreError::from)?))
    }

    /// Commits a transaction that was begun by hand.
    ///
    /// # Errors
    /// Fails when the database refuses to commit, or when its answer is lost.
    pub async fn commit(mut self) -> Result<(), StoreError> {
        match self.inner.take() {
            Some(tx) => tx.commit().await.map_err(StoreError::from_commit),
            None => Ok(()),
        }
    }

    /// Begins a nested transaction: a savepoint that is rolled back when it is dropped without a commit.
    ///
    /// Take this rather than sqlx's own `begin` on the connection: what is dropped while it still begins is noticed here.
    ///
    /// # Errors
    /// Fails when the database refuses the savepoint.
    pub async fn savepoint(&mut self) -> Result<Transaction<'_, Db>, sqlx::Error> {
        self.settle().await?;
        self.nested = true;
        (**self).begin().await
    }

    pub(crate) fn new(tx: Transaction<'static, Db>) -> Self {
        Self { inner: Some(tx), carried: Carried::default(), nested: false, owed: None }
    }

    /// Takes the transaction out, to be put back by [`Home`](super::Home).
    pub(crate) fn borrow_out(&mut self) -> Self {
        let (inner, carried) = (self.inner.take(), std::mem::take(&mut self.carried));
        Self { inner, carried, nested: self.nested, owed: self.owed.take() }
    }

    /// What calls made within this transaction raised, for drivers.
    #[doc(hidden)]
    pub fn carried(&mut self) -> &mut Carried {
        &mut self.carried
    }

    /// Notes that a savepoint is asked for.
    #[cfg(feature = "sqlite")]
    pub(crate) fn note_nested(&mut self) {
        self.nested = true;
    }

    /// Releases the innermost savepoint. Given up halfway, the release is owed, and [`settle`](Self::settle) sees to it.
    #[cfg(feature = "sqlite")]
    pub(crate) async fn release(&mut self) -> Result<(), sqlx::Error> {
        self.owed = self.depth().checked_sub(1);
        self.nested = true;
        let released = Db::TransactionManager::commit(self).await;
        self.owed = None;
        released
    }

    /// Whether the release of the innermost savepoint has been asked for, and given up before its answer.
    #[cfg(feature = "sqlite")]
    pub(crate) fn is_released(&self) -> bool {
        self.owed.is_some()
    }

    /// Waits until everything is done that was asked for by dropping something: a savepoint, or the future that begins
    /// or releases one. Until then the depth is yesterday's. Most units ask for none, and wait for nothing.
    pub(crate) async fn settle(&mut self) -> Result<(), sqlx::Error> {
        if self.nested || self.depth() > 1 {
            self.ping().await?;
            self.nested = false;
        }
        let Some(owed) = self.owed else { return Ok(()) };
        if self.depth() <= owed {
            // It was released, and sqlx may not have been able to say so: it then passes over the next savepoint that is
            // dropped, taking it for the one it released. This one is for that.
            Db::TransactionManager::begin(self, None).await?;
            Db::TransactionManager::start_rollback(self);
            self.ping().await?;
        }
        if self.depth() > owed {
            Db::TransactionManager::commit(self).await?;
        }
        self.owed = None;
        Ok(())
    }

    /// How deep sqlx believes the transaction to be: 1 without a savepoint.
    fn depth(&self) -> usize {
        Db::TransactionManager::get_transaction_depth(self)
    }

    /// Whether a call made `within` has the transaction.
    #[cfg(feature = "sqlite")]
    pub(crate) fn is_lent(&self) -> bool {
        self.inner.is_none()
    }

    /// The transaction itself, for the driver that ends it.
    #[cfg(feature = "sqlite")]
    pub(crate) fn into_inner(mut self) -> Option<Transaction<'static, Db>> {
        self.inner.take()
    }
}

const LENT: &str = "the transaction is lent to a call made `within` it, whose future was leaked";

impl<Db: Database> Deref for Tx<Db> {
    type Target = Db::Connection;

    #[expect(clippy::expect_used, reason = "only `mem::forget` of a `within` call leaves it empty")]
    fn deref(&self) -> &Db::Connection {
        self.inner.as_ref().expect(LENT)
    }
}

impl<Db: Database> DerefMut for Tx<Db> {
    #[expect(clippy::expect_used, reason = "only `mem::forget` of a `within` call leaves it empty")]
    fn deref_mut(&mut self) -> &mut Db::Connection {
        self.inner.as_mut().expect(LENT)
    }
}

impl<Db: Database> fmt::Debug for Tx<Db> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tx<{}>", Db::NAME)
    }
}
