//! The unit of work's transaction, as a handler sees it.

use std::any::Any;
use std::fmt;
use std::ops::{Deref, DerefMut};

use sqlx::pool::Pool;
use sqlx::{Connection, Database, Transaction};
use sqlx_core::transaction::TransactionManager;

use super::slot::TxAccess;
use crate::event::Node;
use crate::store::StoreError;

/// The transaction of the unit of work: begun, committed and rolled back by the framework.
///
/// Derefs to the database's connection: pass `tx` where a `&mut SqliteConnection` is asked for, and `&mut **tx` where
/// sqlx wants an executor. [`savepoint`](Self::savepoint) gives a nested transaction. Of which database it is may be left to
/// the app's store: [`Tx<Any>`](crate::store::Any).
///
/// Made by hand, with [`begin`](Self::begin) and [`commit`](Self::commit), it lets a test call a handler as an ordinary
/// function; nothing is flushed then: events raised beside it stay in the test's [`Events`](crate::Events).
pub struct Tx<Db: TxOf> {
    pub(super) inner: Db::Held,
    /// Events of calls made `within` this transaction, handed over when their savepoint was released.
    pub(crate) carried: Carried,
    /// Whether a savepoint was asked for: one that is dropped is undone some time later, which has to be waited for.
    nested: bool,
    /// The end of a savepoint that was asked for, and given up before its answer.
    owed: Option<Owed>,
    /// Whether its store has marked its beginning in the database, to tell later whether it is still there.
    #[cfg(feature = "mysql")]
    pub(crate) is_marked: bool,
}

/// What a [`Tx`] can be of: a database of sqlx, or [`Any`](crate::store::Any) of them.
pub trait TxOf: Sized + 'static {
    /// What the transaction derefs to: the database's connection.
    type Lent: Send;

    #[doc(hidden)]
    type Held: Send;

    #[doc(hidden)]
    fn lent(held: &Self::Held) -> &Self::Lent;

    #[doc(hidden)]
    fn lent_mut(held: &mut Self::Held) -> &mut Self::Lent;

    /// Takes over what a store's driver gives: the `Tx` of its database, boxed.
    #[doc(hidden)]
    fn adopt(given: Box<dyn Any + Send>) -> Result<Tx<Self>, Box<dyn Any + Send>>;

    /// Takes out what a store's driver takes, to be put back by [`put_back`](Self::put_back).
    #[doc(hidden)]
    fn take_out(tx: &mut Tx<Self>) -> Box<dyn Any + Send>;

    #[doc(hidden)]
    fn put_back(tx: &mut Tx<Self>, taken: Box<dyn Any + Send>);

    /// The parameter of a handler.
    #[doc(hidden)]
    fn parameter<'c>(slot: &'c mut (dyn TxAccess + 'c)) -> Option<&'c mut Tx<Self>>;

    /// Undoes what is open, as the transaction is dropped.
    #[doc(hidden)]
    fn undo(tx: &mut Tx<Self>);

    #[doc(hidden)]
    fn name() -> &'static str;
}

impl<Db: Database> TxOf for Db {
    type Lent = Db::Connection;
    type Held = Option<Transaction<'static, Db>>;

    #[expect(clippy::expect_used, reason = "only `mem::forget` of a `within` call leaves it empty")]
    fn lent(held: &Self::Held) -> &Db::Connection {
        held.as_ref().expect(LENT)
    }

    #[expect(clippy::expect_used, reason = "only `mem::forget` of a `within` call leaves it empty")]
    fn lent_mut(held: &mut Self::Held) -> &mut Db::Connection {
        held.as_mut().expect(LENT)
    }

    fn adopt(given: Box<dyn Any + Send>) -> Result<Tx<Db>, Box<dyn Any + Send>> {
        Ok(*given.downcast()?)
    }

    fn take_out(tx: &mut Tx<Db>) -> Box<dyn Any + Send> {
        Box::new(tx.borrow_out())
    }

    fn put_back(tx: &mut Tx<Db>, taken: Box<dyn Any + Send>) {
        if let Ok(taken) = taken.downcast() {
            *tx = *taken;
        }
    }

    fn parameter<'c>(slot: &'c mut (dyn TxAccess + 'c)) -> Option<&'c mut Tx<Db>> {
        slot.handle()?.downcast_mut()
    }

    /// sqlx ends one level with the transaction it drops, and passes over that where the end of a savepoint was owed: the
    /// transaction would stay open, and with it the lock that others wait for, until somebody takes the connection up again.
    fn undo(tx: &mut Tx<Db>) {
        let (nested, owed) = (tx.nested, tx.owed.is_some());
        let Some(tx) = tx.inner.as_mut() else { return };
        let depth = Db::TransactionManager::get_transaction_depth(tx);
        if nested || owed || depth > 1 {
            // With the one of sqlx one more than there are levels; outside of a transaction it does nothing.
            for _ in 0..depth {
                Db::TransactionManager::start_rollback(tx);
            }
        }
    }

    fn name() -> &'static str {
        Db::NAME
    }
}

/// The end of a savepoint that nobody waited for: it may have happened or not.
#[cfg_attr(
    not(any(feature = "mysql", feature = "postgres", feature = "sqlite")),
    expect(dead_code, reason = "only a store's transactions end savepoints")
)]
#[derive(Debug, Clone, Copy)]
enum Owed {
    /// Its release, after which the transaction is so deep in savepoints. Dropped before it was sent, it still has to be.
    Release {
        to: usize,
        /// Whether the call whose savepoint it is has gone, taking it for released. Who comes next is around it.
        counted: bool,
    },
    /// Its rollback.
    Rollback,
}

/// What calls made within a transaction raised, until the unit that owns the transaction takes it over.
#[doc(hidden)]
#[derive(Debug, Default)]
pub struct Carried(pub(crate) Vec<Node>);

impl<Db: TxOf> Tx<Db> {
    pub(super) fn holding(inner: Db::Held) -> Self {
        Self {
            inner,
            carried: Carried::default(),
            nested: false,
            owed: None,
            #[cfg(feature = "mysql")]
            is_marked: false,
        }
    }
}

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
        if !self.is_lent() {
            self.settle().await?;
        }
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
        Self::holding(Some(tx))
    }

    /// Takes the transaction out, to be put back.
    pub(super) fn borrow_out(&mut self) -> Self {
        let (inner, carried) = (self.inner.take(), std::mem::take(&mut self.carried));
        Self {
            inner,
            carried,
            nested: self.nested,
            owed: self.owed.take(),
            #[cfg(feature = "mysql")]
            is_marked: self.is_marked,
        }
    }

    /// What calls made within this transaction raised, for drivers.
    #[doc(hidden)]
    pub fn carried(&mut self) -> &mut Carried {
        &mut self.carried
    }

    /// Notes that a savepoint is asked for.
    #[cfg(any(feature = "any", feature = "mysql", feature = "postgres", feature = "sqlite"))]
    pub(crate) fn note_nested(&mut self) {
        self.nested = true;
    }

    /// Releases the innermost savepoint. Given up halfway, the release is owed, and [`settle`](Self::settle) sees to it.
    #[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
    pub(crate) async fn release(&mut self) -> Result<(), sqlx::Error> {
        self.owed = self.depth().checked_sub(1).map(|to| Owed::Release { to, counted: false });
        self.nested = true;
        let released = Db::TransactionManager::commit(self).await;
        self.owed = None;
        released
    }

    /// Rolls the innermost savepoint back. Given up halfway, that is owed as well.
    #[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
    pub(crate) async fn roll_back(&mut self) -> Result<(), sqlx::Error> {
        self.owed = Some(Owed::Rollback);
        self.nested = true;
        let rolled_back = Db::TransactionManager::rollback(self).await;
        self.owed = None;
        rolled_back
    }

    /// Undoes the savepoint of a call that is dropped, without waiting. `false` where the call has asked for its release,
    /// and only the answer was not waited for: it counts as released.
    ///
    /// sqlx passes over one rollback after a release or rollback that it could not answer. So the number of rollbacks does
    /// not depend on how far it has come: one for what is owed, which either does it or is passed over, and one for the
    /// savepoint itself.
    #[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
    pub(crate) fn start_rollback(&mut self) -> bool {
        match self.owed.take() {
            Some(Owed::Release { to, counted: false }) => {
                self.owed = Some(Owed::Release { to, counted: true });
                return false;
            }
            // Of a call within the one that is dropped now.
            Some(Owed::Release { counted: true, .. }) => Db::TransactionManager::start_rollback(self),
            // One deep, the same would end the whole transaction.
            None if self.depth() <= 1 => return true,
            // That of this savepoint itself may be owed.
            Some(Owed::Rollback) | None => {}
        }
        self.nested = true;
        Db::TransactionManager::start_rollback(self);
        true
    }

    /// Waits until everything is done that was asked for by dropping something: a savepoint, or the future that begins
    /// or ends one. Until then the depth is yesterday's. Most units ask for none, and wait for nothing.
    pub(crate) async fn settle(&mut self) -> Result<(), sqlx::Error> {
        if matches!(self.owed, Some(Owed::Rollback)) {
            // Passed over where it has happened already.
            Db::TransactionManager::start_rollback(self);
            self.owed = None;
        }
        if self.nested || self.depth() > 1 {
            self.drain().await?;
            self.nested = false;
        }
        let Some(Owed::Release { to, .. }) = self.owed else { return Ok(()) };
        if self.depth() <= to {
            // It was released, and sqlx may not have been able to say so: it then passes over the next savepoint that is
            // dropped, taking it for the one it released. This one is for that.
            Db::TransactionManager::begin(self, None).await?;
            Db::TransactionManager::start_rollback(self);
            self.ping().await?;
        }
        if self.depth() > to {
            self.reopen().await?;
            Db::TransactionManager::commit(self).await?;
        }
        self.owed = None;
        Ok(())
    }

    /// Waits for what was asked for without waiting. On PostgreSQL the rollback of a savepoint that had been released already is
    /// an error, and harmless: the one around it is rolled back next.
    async fn drain(&mut self) -> Result<(), sqlx::Error> {
        loop {
            match self.ping().await {
                Err(sqlx::Error::Database(error)) if error.code().is_some_and(|code| code == NO_SAVEPOINT) => {}
                end => return end,
            }
        }
    }

    /// On PostgreSQL a release that was asked for has been sent, and is done by now, but for sqlx's count of savepoints: there is
    /// one again for it to release.
    #[cfg(feature = "postgres")]
    async fn reopen(&mut self) -> Result<(), sqlx::Error> {
        use sqlx::Executor;

        let number = self.depth().saturating_sub(1);
        let connection: &mut (dyn Any + Send) = &mut **self;
        let Some(connection) = connection.downcast_mut::<sqlx::PgConnection>() else { return Ok(()) };
        let savepoint = sqlx::AssertSqlSafe(format!("SAVEPOINT _sqlx_savepoint_{number}"));
        connection.execute(sqlx::raw_sql(savepoint)).await.map(drop)
    }

    #[cfg(not(feature = "postgres"))]
    #[allow(clippy::unused_async, clippy::unused_self, reason = "only PostgreSQL waits here")]
    async fn reopen(&mut self) -> Result<(), sqlx::Error> {
        Ok(())
    }

    /// How deep sqlx believes the transaction to be: 1 without a savepoint.
    fn depth(&self) -> usize {
        Db::TransactionManager::get_transaction_depth(self)
    }

    /// Whether a call made `within` has the transaction.
    pub(crate) fn is_lent(&self) -> bool {
        self.inner.is_none()
    }

    /// The transaction itself, for the driver that ends it.
    #[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
    pub(crate) fn into_inner(mut self) -> Option<Transaction<'static, Db>> {
        self.inner.take()
    }
}

impl<Db: TxOf> Drop for Tx<Db> {
    fn drop(&mut self) {
        Db::undo(self);
    }
}

/// What PostgreSQL says where there is no such savepoint.
const NO_SAVEPOINT: &str = "3B001";

const LENT: &str = "the transaction is lent to a call made `within` it, whose future was leaked";

impl<Db: TxOf> Deref for Tx<Db> {
    type Target = Db::Lent;

    fn deref(&self) -> &Db::Lent {
        Db::lent(&self.inner)
    }
}

impl<Db: TxOf> DerefMut for Tx<Db> {
    fn deref_mut(&mut self) -> &mut Db::Lent {
        Db::lent_mut(&mut self.inner)
    }
}

impl<Db: TxOf> fmt::Debug for Tx<Db> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tx<{}>", Db::name())
    }
}
