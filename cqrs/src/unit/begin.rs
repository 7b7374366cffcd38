//! The late form of a transaction: slow work first, then begin.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use sqlx::Database;
use sqlx::pool::Pool;

use super::tx::{Tx, TxOf};
use crate::dispatch::deadlock;
use crate::store::driver::{BoxFuture, Driver};
use crate::store::{StoreError, StoreErrorKind};

/// A transaction that has not begun: slow work first, then [`begin`](Self::begin).
///
/// ```no_run,standalone_crate
/// # use cqrs::prelude::*;
/// # use cqrs::sqlx::{self, Sqlite};
/// # #[derive(Command)]
/// # #[command(error = cqrs::BoxError)]
/// # struct Pay;
/// # async fn ask_the_bank() -> Result<(), cqrs::BoxError> { Ok(()) }
/// #[command_handler]
/// async fn pay(_cmd: Pay, begin: &mut Begin<Sqlite>) -> Result<(), cqrs::BoxError> {
///     ask_the_bank().await?;                      // no transaction is open meanwhile
///     let tx = begin.begin().await?;
///     sqlx::query("INSERT INTO payments DEFAULT VALUES").execute(&mut **tx).await?;
///     Ok(())
/// }
/// ```
pub struct Begin<Db: TxOf> {
    source: Source<Db>,
    tx: Option<Tx<Db>>,
}

enum Source<Db: TxOf> {
    Hand(Box<dyn Fn() -> BoxFuture<'static, Result<Tx<Db>, StoreError>> + Send + Sync>),
    Store(Arc<dyn Driver>),
}

impl<Db: Database> Begin<Db> {
    /// Makes one by hand, for calling a handler as an ordinary function.
    pub fn new(pool: &Pool<Db>) -> Self {
        let pool = pool.clone();
        let begin = move || -> BoxFuture<'static, _> {
            let pool = pool.clone();
            Box::pin(async move { Tx::begin(&pool).await })
        };
        Self { source: Source::Hand(Box::new(begin)), tx: None }
    }
}

impl<Db: TxOf> Begin<Db> {
    /// Begins the transaction, or gives it again where it has begun.
    ///
    /// # Errors
    /// Fails when no connection is to be had in time or the database refuses.
    pub async fn begin(&mut self) -> Result<&mut Tx<Db>, StoreError> {
        if self.tx.is_none() {
            self.tx = Some(self.source.begin().await?);
        }
        self.tx.as_mut().ok_or_else(foreign)
    }

    #[cfg(feature = "any")]
    pub(super) fn begun(&mut self) -> Option<&mut Tx<Db>> {
        self.tx.as_mut()
    }

    /// The transaction, if it has begun: to commit one that was made by hand.
    pub fn into_tx(self) -> Option<Tx<Db>> {
        self.tx
    }
}

#[cfg(feature = "any")]
impl<Db: Database> From<Begin<Db>> for Begin<super::any::Any>
where
    Tx<super::any::Any>: From<Tx<Db>>,
{
    fn from(begin: Begin<Db>) -> Self {
        let source = match begin.source {
            Source::Hand(begin) => Source::Hand(Box::new(move || -> BoxFuture<'static, _> {
                let native = begin();
                Box::pin(async move { Ok(native.await?.into()) })
            })),
            Source::Store(store) => Source::Store(store),
        };
        Self { source, tx: begin.tx.map(Into::into) }
    }
}

impl<Db: TxOf> Source<Db> {
    async fn begin(&self) -> Result<Tx<Db>, StoreError> {
        match self {
            Self::Hand(begin) => begin().await,
            Self::Store(store) => {
                deadlock::check().map_err(|()| {
                    StoreError::new(
                        StoreErrorKind::WouldDeadlock,
                        "a transaction begun here would wait for the one its own caller holds",
                    )
                })?;
                let tx = Db::adopt(store.begin().await?.into_any()).map_err(|_| foreign())?;
                deadlock::hold();
                Ok(tx)
            }
        }
    }
}

fn foreign() -> StoreError {
    StoreError::new(StoreErrorKind::Configuration, "the app's store gives transactions of another database")
}

impl<Db: TxOf> fmt::Debug for Begin<Db> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Begin").field("begun", &self.tx.is_some()).finish_non_exhaustive()
    }
}

/// A `Begin<Db>` whose database only the handler knows.
pub trait Late: Any + Send {
    fn any_mut(&mut self) -> &mut (dyn Any + Send);
    /// Takes the transaction out, if it has begun: the `Tx<Db>`, boxed.
    fn take(&mut self) -> Option<Box<dyn Any + Send>>;
}

impl<Db: TxOf> Late for Begin<Db> {
    fn any_mut(&mut self) -> &mut (dyn Any + Send) {
        self
    }

    fn take(&mut self) -> Option<Box<dyn Any + Send>> {
        self.tx.take().map(|mut tx| Db::take_out(&mut tx))
    }
}

impl<Db: TxOf> Begin<Db> {
    /// The `Begin` of a unit of work: `open` is the transaction of a call made `within` it, which has begun already.
    pub(crate) fn of_unit(store: Arc<dyn Driver>, open: Option<Box<dyn Any + Send>>) -> Self {
        let tx = open.and_then(|tx| Db::adopt(tx).ok());
        Self { source: Source::Store(store), tx }
    }
}
