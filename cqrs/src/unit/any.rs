//! The transaction of whichever SQL store the app has, and connections of its pool.
//!
//! sqlx knows how to run a statement of its `Any` on a connection of each database. It cannot be handed a connection that
//! there is already, though: its own `AnyConnection` always connects by itself, and would not be in our transaction. So
//! this one is ours, and asks the connection of the transaction.

use std::any::{self, TypeId};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use futures_core::stream::BoxStream;
use futures_util::future;
use futures_util::stream::{self, StreamExt};
use sqlx::any::{AnyQueryResult, AnyRow, AnyStatement, AnyTypeInfo};
use sqlx::pool::{Pool, PoolConnection};
use sqlx::{Database, Describe, Either, Execute, Executor, SqlStr};
use sqlx_core::any::AnyConnectionBackend;
use sqlx_core::transaction::TransactionManager;

use super::slot::TxAccess;
use super::{Begin, Tx, TxOf};
use crate::store::StoreError;
use crate::store::driver::BoxFuture;

/// Any SQL database: a handler that takes `&mut Tx<Any>` leaves it to the app's store, and so to a setting, which one it is.
///
/// The transaction derefs to an [`AnyConnection`], on which statements of [`sqlx::Any`] run. `sqlx::Any` hands a statement
/// to the database as it is: `$1` stands for an argument on PostgreSQL and SQLite, `?` on MySQL and SQLite. It knows
/// booleans, numbers, texts and bytes; the rest goes as one of these (`CAST(id AS TEXT)`). Handlers that take the store's
/// own `Tx` run in the same unit of work beside those that take this one. What only reads asks for `Inject<AnyPool>`.
///
/// ```standalone_crate
/// # #[cfg(all(feature = "sqlite", feature = "testing"))]
/// # mod example {
/// use cqrs::prelude::*;
/// use cqrs::sqlx;
/// use cqrs::store::{Any, AnyPool};
///
/// #[derive(Command)]
/// #[command(error = sqlx::Error)]
/// struct Stock(&'static str, i64);
///
/// #[command_handler]
/// async fn stock(Stock(sku, quantity): Stock, tx: &mut Tx<Any>) -> Result<(), sqlx::Error> {
///     let sql = "INSERT INTO stock (sku, quantity) VALUES ($1, $2)";
///     sqlx::query(sql).bind(sku).bind(quantity).execute(&mut **tx).await?;
///     Ok(())
/// }
///
/// #[derive(Query)]
/// #[query(response = i64, error = sqlx::Error)]
/// struct OnHand(&'static str);
///
/// #[query_handler]
/// async fn on_hand(OnHand(sku): OnHand, pool: Inject<AnyPool>) -> Result<i64, sqlx::Error> {
///     let sql = "SELECT quantity FROM stock WHERE sku = $1";
///     sqlx::query_scalar(sql).bind(sku).fetch_one(&mut pool.acquire().await?).await
/// }
///
/// # pub async fn run() -> Result<(), cqrs::BoxError> {
/// let app = cqrs::testing::TestApp::new(cqrs::bootstrap!().store(Store::url("sqlite://stock.db"))).await?;
/// let mut unit = app.unit::<Any>().await?;
/// sqlx::query("CREATE TABLE stock (sku TEXT, quantity BIGINT)").execute(&mut **unit.tx()).await?;
/// unit.commit().await?;
///
/// app.send(Stock("tea", 40)).await?;
/// assert_eq!(app.query(OnHand("tea")).await?, 40);
/// # Ok(())
/// # }
/// # }
/// # #[cfg(all(feature = "sqlite", feature = "testing"))]
/// # tokio::runtime::Runtime::new().unwrap().block_on(example::run()).unwrap();
/// ```
///
/// To call such a handler as an ordinary function, make its transaction of one of a database's own:
/// `let mut tx: Tx<Any> = Tx::begin(&pool).await?.into();`
#[derive(Debug, Clone, Copy)]
pub enum Any {}

/// A connection to whichever SQL database the app's store is on, in the unit of work's transaction or out of the store's
/// pool. `&mut AnyConnection` is an executor of statements of [`sqlx::Any`].
///
/// It is not `sqlx::AnyConnection`, which always connects by itself.
#[derive(Debug)]
pub struct AnyConnection(Box<dyn Held>);

/// The pool of whichever SQL database the app's store is on: `Inject<AnyPool>`.
#[derive(Debug, Clone)]
pub struct AnyPool(Arc<dyn Connections>);

/// A savepoint of a [`Tx<Any>`](Any): rolled back when it is dropped without a commit.
#[derive(Debug)]
pub struct AnySavepoint<'t> {
    connection: &'t mut AnyConnection,
    is_open: bool,
}

/// What has a connection.
trait Held: fmt::Debug + Send {
    fn backend(&self) -> &dyn AnyConnectionBackend;
    fn backend_mut(&mut self) -> &mut dyn AnyConnectionBackend;

    /// The transaction, where it is one.
    fn tx(&mut self) -> Option<&mut dyn Open> {
        None
    }
}

/// A database's own `Tx`.
trait Open {
    fn take_out(&mut self) -> Box<dyn any::Any + Send>;
    fn put_back(&mut self, taken: Box<dyn any::Any + Send>);
    fn begin_savepoint(&mut self) -> BoxFuture<'_, Result<(), sqlx::Error>>;
    fn commit(&mut self) -> BoxFuture<'_, Result<(), StoreError>>;
}

trait Connections: fmt::Debug + Send + Sync {
    fn acquire(&self) -> BoxFuture<'_, Result<AnyConnection, sqlx::Error>>;
}

impl<Db: Database<Connection: AnyConnectionBackend>> Held for Tx<Db> {
    fn backend(&self) -> &dyn AnyConnectionBackend {
        &**self
    }

    fn backend_mut(&mut self) -> &mut dyn AnyConnectionBackend {
        &mut **self
    }

    fn tx(&mut self) -> Option<&mut dyn Open> {
        Some(self)
    }
}

impl<Db: Database> Open for Tx<Db> {
    fn take_out(&mut self) -> Box<dyn any::Any + Send> {
        Db::take_out(self)
    }

    fn put_back(&mut self, taken: Box<dyn any::Any + Send>) {
        Db::put_back(self, taken);
    }

    fn begin_savepoint(&mut self) -> BoxFuture<'_, Result<(), sqlx::Error>> {
        Box::pin(async move {
            self.settle().await?;
            self.note_nested();
            Db::TransactionManager::begin(self, None).await
        })
    }

    fn commit(&mut self) -> BoxFuture<'_, Result<(), StoreError>> {
        let tx = self.borrow_out();
        Box::pin(tx.commit())
    }
}

impl<Db: Database<Connection: AnyConnectionBackend>> Held for PoolConnection<Db> {
    fn backend(&self) -> &dyn AnyConnectionBackend {
        &**self
    }

    fn backend_mut(&mut self) -> &mut dyn AnyConnectionBackend {
        &mut **self
    }
}

impl<Db: Database<Connection: AnyConnectionBackend>> Connections for Pool<Db> {
    fn acquire(&self) -> BoxFuture<'_, Result<AnyConnection, sqlx::Error>> {
        Box::pin(async move { Ok(AnyConnection(Box::new(self.acquire().await?))) })
    }
}

impl<Db: Database<Connection: AnyConnectionBackend>> From<Tx<Db>> for Tx<Any> {
    fn from(tx: Tx<Db>) -> Self {
        Self::holding(AnyConnection(Box::new(tx)))
    }
}

impl<Db: Database<Connection: AnyConnectionBackend>> From<Pool<Db>> for AnyPool {
    fn from(pool: Pool<Db>) -> Self {
        Self(Arc::new(pool))
    }
}

impl AnyPool {
    /// Takes a connection out of the pool, which goes back when it is dropped.
    ///
    /// # Errors
    /// Fails when the pool gives none in time, or cannot connect.
    pub async fn acquire(&self) -> Result<AnyConnection, sqlx::Error> {
        self.0.acquire().await
    }
}

impl AnyConnection {
    /// The name of the database, as sqlx says it: `PostgreSQL`, `MySQL`, `SQLite`. For the statement that has to be another one
    /// on one of them.
    #[must_use]
    pub fn backend_name(&self) -> &str {
        self.0.backend().name()
    }
}

impl Tx<Any> {
    /// Commits a transaction that was begun by hand.
    ///
    /// # Errors
    /// Fails when the database refuses to commit, or when its answer is lost.
    pub async fn commit(mut self) -> Result<(), StoreError> {
        match self.inner.0.tx() {
            Some(tx) => tx.commit().await,
            None => Ok(()),
        }
    }

    /// Begins a nested transaction: a savepoint that is rolled back when it is dropped without a commit.
    ///
    /// # Errors
    /// Fails when the database refuses the savepoint.
    pub async fn savepoint(&mut self) -> Result<AnySavepoint<'_>, sqlx::Error> {
        if let Some(tx) = self.inner.0.tx() {
            tx.begin_savepoint().await?;
        }
        Ok(AnySavepoint { connection: &mut self.inner, is_open: true })
    }
}

impl AnySavepoint<'_> {
    /// Keeps what was done.
    ///
    /// # Errors
    /// Fails when the database refuses.
    pub async fn commit(mut self) -> Result<(), sqlx::Error> {
        self.connection.0.backend_mut().commit().await?;
        self.is_open = false;
        Ok(())
    }

    /// Undoes what was done, and waits for it.
    ///
    /// # Errors
    /// Fails when the database refuses.
    pub async fn rollback(mut self) -> Result<(), sqlx::Error> {
        self.connection.0.backend_mut().rollback().await?;
        self.is_open = false;
        Ok(())
    }
}

impl Drop for AnySavepoint<'_> {
    fn drop(&mut self) {
        if self.is_open {
            self.connection.0.backend_mut().start_rollback();
        }
    }
}

impl Deref for AnySavepoint<'_> {
    type Target = AnyConnection;

    fn deref(&self) -> &AnyConnection {
        self.connection
    }
}

impl DerefMut for AnySavepoint<'_> {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        self.connection
    }
}

impl TxOf for Any {
    type Lent = AnyConnection;
    type Held = AnyConnection;

    fn lent(held: &AnyConnection) -> &AnyConnection {
        held
    }

    fn lent_mut(held: &mut AnyConnection) -> &mut AnyConnection {
        held
    }

    fn adopt(given: Box<dyn any::Any + Send>) -> Result<Tx<Self>, Box<dyn any::Any + Send>> {
        #[cfg(feature = "sqlite")]
        let given = match given.downcast::<Tx<sqlx::Sqlite>>() {
            Ok(tx) => return Ok(Tx::holding(AnyConnection(tx))),
            Err(given) => given,
        };
        #[cfg(feature = "postgres")]
        let given = match given.downcast::<Tx<sqlx::Postgres>>() {
            Ok(tx) => return Ok(Tx::holding(AnyConnection(tx))),
            Err(given) => given,
        };
        #[cfg(feature = "mysql")]
        let given = match given.downcast::<Tx<sqlx::MySql>>() {
            Ok(tx) => return Ok(Tx::holding(AnyConnection(tx))),
            Err(given) => given,
        };
        Err(given)
    }

    fn take_out(tx: &mut Tx<Self>) -> Box<dyn any::Any + Send> {
        match tx.inner.0.tx() {
            Some(tx) => tx.take_out(),
            None => Box::new(()),
        }
    }

    fn put_back(tx: &mut Tx<Self>, taken: Box<dyn any::Any + Send>) {
        if let Some(tx) = tx.inner.0.tx() {
            tx.put_back(taken);
        }
    }

    /// A `Begin` that has begun: as from one, the call takes its transaction back when the handler has ended.
    fn parameter<'c>(slot: &'c mut (dyn TxAccess + 'c)) -> Option<&'c mut Tx<Self>> {
        let late = slot.late(&|store, open| Box::new(Begin::<Self>::of_unit(store, open)))?;
        late.downcast_mut::<Begin<Self>>()?.begun()
    }

    fn undo(_: &mut Tx<Self>) {}

    fn name() -> &'static str {
        "Any"
    }
}

/// Whether a handler's `Tx` is [`Any`]'s, and a store's `Tx` one that it can be made of.
pub(crate) fn is_made_of(wanted: TypeId, given: TypeId) -> bool {
    let databases = [
        #[cfg(feature = "sqlite")]
        TypeId::of::<Tx<sqlx::Sqlite>>(),
        #[cfg(feature = "postgres")]
        TypeId::of::<Tx<sqlx::Postgres>>(),
        #[cfg(feature = "mysql")]
        TypeId::of::<Tx<sqlx::MySql>>(),
    ];
    wanted == TypeId::of::<Tx<Any>>() && databases.contains(&given)
}

impl<'c> Executor<'c> for &'c mut AnyConnection {
    type Database = sqlx::Any;

    fn fetch_many<'e, 'q: 'e, E>(
        self,
        mut query: E,
    ) -> BoxStream<'e, Result<Either<AnyQueryResult, AnyRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, sqlx::Any>,
    {
        match query.take_arguments() {
            Ok(arguments) => {
                let persistent = query.persistent();
                self.0.backend_mut().fetch_many(query.sql(), persistent, arguments)
            }
            Err(error) => stream::once(future::ready(Err(sqlx::Error::Encode(error)))).boxed(),
        }
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, mut query: E) -> BoxFuture<'e, Result<Option<AnyRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, sqlx::Any>,
    {
        match query.take_arguments() {
            Ok(arguments) => {
                let persistent = query.persistent();
                self.0.backend_mut().fetch_optional(query.sql(), persistent, arguments)
            }
            Err(error) => Box::pin(future::ready(Err(sqlx::Error::Encode(error)))),
        }
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [AnyTypeInfo],
    ) -> BoxFuture<'e, Result<AnyStatement, sqlx::Error>>
    where
        'c: 'e,
    {
        self.0.backend_mut().prepare_with(sql, parameters)
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<sqlx::Any>, sqlx::Error>>
    where
        'c: 'e,
    {
        self.0.backend_mut().describe(sql)
    }
}
