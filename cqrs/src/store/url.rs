//! Naming a store before it is connected: by URL, by pool, or by driver. No I/O happens here.

use std::any::{Any, TypeId};
use std::fmt;
use std::sync::Arc;

use super::driver::{Driver, HandleSpec};
use super::names::{self, Names};
use super::{StoreError, StoreErrorKind};

/// The store an app uses, named but not yet connected: that happens when the builder is awaited.
///
/// ```
/// use cqrs::Store;
///
/// let store = Store::url("sqlite://shop.db");     // file created if missing; WAL, foreign keys, busy timeout 5 s
/// assert_eq!(store.scheme(), "sqlite");
/// ```
pub struct Store {
    pub(crate) source: Source,
    pub(crate) migrator: Option<sqlx::migrate::Migrator>,
    pub(crate) options: StoreOptions,
}

/// What can be said about a store beside its address.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct StoreOptions {
    /// For tests: give up durability of the machine, not of the process.
    pub(crate) synchronous_off: bool,
    /// What the names of tables begin with.
    pub(crate) prefix: Option<String>,
    /// The schema that the tables are in.
    pub(crate) schema: Option<String>,
    /// Whether processes tell each other that something was stored.
    pub(crate) notify: Option<bool>,
}

impl StoreOptions {
    /// What is said here, and where nothing is what `other` says.
    pub(crate) fn or(self, other: &Self) -> Self {
        Self {
            synchronous_off: self.synchronous_off || other.synchronous_off,
            prefix: self.prefix.or_else(|| other.prefix.clone()),
            schema: self.schema.or_else(|| other.schema.clone()),
            notify: self.notify.or(other.notify),
        }
    }
}

pub(crate) enum Source {
    Url(String),
    Pool { pool: Arc<dyn Any + Send + Sync>, type_name: &'static str },
    Driver(Arc<dyn Driver>),
}

/// The stores of this build.
#[derive(Debug, Clone, Copy)]
enum Kind {
    #[cfg(feature = "postgres")]
    Postgres,
    #[cfg(feature = "mysql")]
    MySql,
    #[cfg(feature = "sqlite")]
    Sqlite,
    Memory,
}

/// What the URL of a store begins with, in this build.
const SCHEMES: &[&str] = &[
    #[cfg(feature = "mysql")]
    "`mysql:`",
    #[cfg(feature = "mysql")]
    "`mariadb:`",
    #[cfg(feature = "sqlite")]
    "`sqlite:`",
    #[cfg(feature = "postgres")]
    "`postgres:`",
    "`memory:`",
];

/// The pools that are taken, in this build.
const POOLS: &[&str] = &[
    #[cfg(feature = "mysql")]
    "a `MySqlPool`",
    #[cfg(feature = "sqlite")]
    "a `SqlitePool`",
    #[cfg(feature = "postgres")]
    "a `PgPool`",
];

impl Kind {
    fn of_scheme(scheme: &str) -> Option<Self> {
        match scheme {
            #[cfg(feature = "postgres")]
            "postgres" | "postgresql" => Some(Self::Postgres),
            #[cfg(feature = "mysql")]
            "mysql" | "mariadb" => Some(Self::MySql),
            #[cfg(feature = "sqlite")]
            "sqlite" => Some(Self::Sqlite),
            "memory" => Some(Self::Memory),
            _ => None,
        }
    }

    fn of_pool(pool: &(dyn Any + Send + Sync)) -> Option<Self> {
        match pool {
            #[cfg(feature = "postgres")]
            pool if pool.is::<sqlx::PgPool>() => Some(Self::Postgres),
            #[cfg(feature = "mysql")]
            pool if pool.is::<sqlx::MySqlPool>() => Some(Self::MySql),
            #[cfg(feature = "sqlite")]
            pool if pool.is::<sqlx::SqlitePool>() => Some(Self::Sqlite),
            _ => None,
        }
    }

    /// Whether a prefix and a schema may be said.
    fn takes_names(self) -> (bool, bool) {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres => (true, true),
            #[cfg(feature = "mysql")]
            Self::MySql => (true, false),
            #[cfg(feature = "sqlite")]
            Self::Sqlite => (false, false),
            // They keep apps apart that share a database. Here there is nothing to share.
            Self::Memory => (true, true),
        }
    }

    /// Whether processes can tell each other what they store. In memory there is nobody to tell.
    fn has_notices(self) -> bool {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres => true,
            #[cfg(feature = "mysql")]
            Self::MySql => false,
            #[cfg(feature = "sqlite")]
            Self::Sqlite => false,
            Self::Memory => true,
        }
    }

    /// What its transactions lend to handlers.
    fn handle(self) -> Option<HandleSpec> {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres => Some(super::postgres::HANDLE),
            #[cfg(feature = "mysql")]
            Self::MySql => Some(super::mysql::HANDLE),
            #[cfg(feature = "sqlite")]
            Self::Sqlite => Some(super::sqlite::HANDLE),
            Self::Memory => None,
        }
    }

    /// The types of what it gives out as dependencies.
    fn gift_types(self) -> Vec<(TypeId, &'static str)> {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres => gifts::<sqlx::PgPool>(),
            #[cfg(feature = "mysql")]
            Self::MySql => gifts::<sqlx::MySqlPool>(),
            #[cfg(feature = "sqlite")]
            Self::Sqlite => gifts::<sqlx::SqlitePool>(),
            Self::Memory => Vec::new(),
        }
    }
}

#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
fn gifts<Pool: Send + Sync + 'static>() -> Vec<(TypeId, &'static str)> {
    vec![
        gift::<Pool>(),
        #[cfg(feature = "any")]
        gift::<super::AnyPool>(),
    ]
}

#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
fn gift<T: Send + Sync + 'static>() -> (TypeId, &'static str) {
    (crate::Inject::<T>::id(), crate::Inject::<T>::name())
}

impl Store {
    /// Names a store by URL: `sqlite://shop.db`, `sqlite:///var/lib/shop.db`, `postgres://user:password@host:5432/database`,
    /// `mysql://user:password@host:3306/database` (`mariadb://` is the same). `memory:` is one for tests, and for what may be lost
    /// with the process: see [`MemoryStore`](super::MemoryStore).
    ///
    /// TLS is by parameters of the URL, as `psql` and `mysql` name them: `?sslmode=verify-full&sslrootcert=/path/ca.pem` for
    /// PostgreSQL, `?ssl-mode=VERIFY_IDENTITY&ssl-ca=/path/ca.pem` for MySQL and MariaDB. The file holds the authority that the
    /// server's certificate comes from, where that is none the machine trusts. Where nothing is said, TLS is spoken if the server
    /// can, and its certificate is not looked at.
    pub fn url(url: impl Into<String>) -> Self {
        Self::of(Source::Url(url.into()))
    }

    /// Takes a pool of yours: `SqlitePool`, `PgPool`, `MySqlPool`.
    pub fn pool<P: Any + Send + Sync>(pool: P) -> Self {
        Self::of(Source::Pool { pool: Arc::new(pool), type_name: std::any::type_name::<P>() })
    }

    /// Says what the names of the framework's tables begin with: `cqrs_`, unless something else is said. Several apps that share a
    /// database have a prefix each. Lower-case letters, digits and underscores, at most 32 of them.
    ///
    /// An SQLite file is an app's own, and its tables keep their names.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.options.prefix = Some(prefix.into());
        self
    }

    /// Says which schema the framework's tables are in, on PostgreSQL: it is created if missing. Without it they are in the first
    /// one of the connection's `search_path`.
    #[must_use]
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.options.schema = Some(schema.into());
        self
    }

    /// Has every process tell the others what it has stored, on PostgreSQL, by `NOTIFY`: they need not find it by polling, which
    /// takes them up to a second (`relay.poll_ceiling`). At most twenty times a second, and after the commit, since a `NOTIFY`
    /// within transactions makes their commits wait for each other.
    ///
    /// Each process that publishes or handles keeps one more connection for it. Through a pooler that lends connections for one
    /// transaction (PgBouncer's `pool_mode = transaction`) nothing arrives: that is noticed, said in the log, and polling goes on.
    #[must_use]
    pub fn notify(mut self, notify: bool) -> Self {
        self.options.notify = Some(notify);
        self
    }

    /// Takes a driver of yours.
    pub fn driver(driver: impl Driver) -> Self {
        Self::of(Source::Driver(Arc::new(driver)))
    }

    /// Runs your own migrations after the framework's: `.migrations(sqlx::migrate!())`.
    #[must_use]
    pub fn migrations(mut self, migrator: sqlx::migrate::Migrator) -> Self {
        self.migrator = Some(migrator);
        self
    }

    /// The scheme of the URL, or the name of what was given instead.
    pub fn scheme(&self) -> &str {
        match &self.source {
            Source::Url(url) => url.split(':').next().unwrap_or(url),
            Source::Pool { type_name, .. } => type_name,
            Source::Driver(driver) => driver.name(),
        }
    }

    /// Whether tests leave it as it is: a driver of the user's, or one in memory, which is fresh for every app.
    #[cfg(feature = "testing")]
    pub(crate) fn is_kept_in_tests(&self) -> bool {
        match &self.source {
            Source::Driver(_) => true,
            Source::Url(_) => self.scheme() == "memory",
            Source::Pool { .. } => false,
        }
    }

    /// The same kind of store in a place of a test's own, and what removes that when it is dropped. `None` where it is a file's matter.
    #[cfg(feature = "testing")]
    #[cfg_attr(
        not(any(feature = "mysql", feature = "postgres")),
        expect(clippy::unused_async, reason = "a store on a server waits for it")
    )]
    pub(crate) async fn apart(&self) -> Result<Option<(Self, Box<dyn Any + Send + Sync>)>, StoreError> {
        match self.kind()? {
            #[cfg(feature = "postgres")]
            Kind::Postgres => {
                let (store, scratch) = super::postgres::scratch::Scratch::new(&self.source).await?;
                Ok(Some((store, Box::new(scratch))))
            }
            #[cfg(feature = "mysql")]
            Kind::MySql => {
                let (store, scratch) = super::mysql::scratch::Scratch::new(&self.source).await?;
                Ok(Some((store, Box::new(scratch))))
            }
            _ => Ok(None),
        }
    }

    fn of(source: Source) -> Self {
        Self { source, migrator: None, options: StoreOptions::default() }
    }

    /// What transactions of this store lend to handlers, known without connecting.
    pub(crate) fn handle(&self) -> Result<Option<HandleSpec>, StoreError> {
        if let Source::Driver(driver) = &self.source {
            self.check_driver()?;
            Ok(driver.handle())
        } else {
            let kind = self.kind()?;
            self.check(kind)?;
            Ok(kind.handle())
        }
    }

    /// The types of what the store gives out as dependencies, known without connecting.
    pub(crate) fn gift_types(&self) -> Vec<(TypeId, &'static str)> {
        match &self.source {
            Source::Driver(driver) => driver.gifts().into_iter().map(|gift| (gift.type_id, gift.name)).collect(),
            _ => self.kind().map(Kind::gift_types).unwrap_or_default(),
        }
    }

    /// Connects, and gives the driver: for a driver of yours that surrounds another, as [`Store::driver`] takes it. An app
    /// connects by itself.
    ///
    /// # Errors
    /// Fails with what is wrong with the URL, or what the database said.
    #[cfg_attr(
        not(any(feature = "mysql", feature = "postgres", feature = "sqlite")),
        expect(clippy::unused_async, reason = "a store of this build connects")
    )]
    pub async fn connect(self) -> Result<Arc<dyn Driver>, StoreError> {
        if let Source::Driver(driver) = &self.source {
            self.check_driver()?;
            return Ok(Arc::clone(driver));
        }
        let kind = self.kind()?;
        self.check(kind)?;
        match kind {
            #[cfg(feature = "postgres")]
            Kind::Postgres => Ok(Arc::new(super::postgres::PostgresStore::connect(self).await?)),
            #[cfg(feature = "mysql")]
            Kind::MySql => Ok(Arc::new(super::mysql::MySqlStore::connect(self).await?)),
            #[cfg(feature = "sqlite")]
            Kind::Sqlite => Ok(Arc::new(super::sqlite::SqliteStore::connect(self).await?)),
            Kind::Memory if self.migrator.is_some() => Err(self.refuses("migrations: it has no tables")),
            Kind::Memory => Ok(Arc::new(super::memory::MemoryStore::of_an_app())),
        }
    }

    /// Judges what was said beside the address, without connecting.
    fn check(&self, kind: Kind) -> Result<(), StoreError> {
        let StoreOptions { prefix, schema, notify, .. } = &self.options;
        Names::new(prefix.as_deref(), schema.as_deref())?;
        let (has_prefix, has_schema) = kind.takes_names();
        if prefix.as_deref().is_some_and(|prefix| prefix != names::PREFIX) && !has_prefix {
            return Err(self.refuses("prefix: its file is the app's own, and its tables keep their names"));
        }
        if schema.is_some() && !has_schema {
            return Err(self.refuses("schema: only PostgreSQL has schemas"));
        }
        if *notify == Some(true) && !kind.has_notices() {
            return Err(self.refuses("`notify`: only PostgreSQL has notices"));
        }
        Ok(())
    }

    /// A driver is ready as it is: what else is said of it would be said to nobody.
    fn check_driver(&self) -> Result<(), StoreError> {
        let StoreOptions { prefix, schema, notify, .. } = &self.options;
        let said = [
            (prefix.is_some(), "prefix"),
            (schema.is_some(), "schema"),
            (*notify == Some(true), "`notify`"),
            (self.migrator.is_some(), "migrations"),
        ];
        match said.into_iter().find(|(is_said, _)| *is_said) {
            Some((_, what)) => Err(self.refuses(&format!(
                "{what}: `Store::driver` was given a store that is ready, which is told such things where it is made"
            ))),
            None => Ok(()),
        }
    }

    fn refuses(&self, what: &str) -> StoreError {
        let what = format!("the store `{}` takes no {what}; leave it out", self.scheme());
        StoreError::new(StoreErrorKind::Configuration, what)
    }

    /// Which of the stores of this build it is.
    fn kind(&self) -> Result<Kind, StoreError> {
        let kind = match &self.source {
            Source::Url(_) => Kind::of_scheme(self.scheme()),
            Source::Pool { pool, .. } => Kind::of_pool(pool.as_ref()),
            Source::Driver(_) => None,
        };
        kind.ok_or_else(|| self.unknown())
    }

    fn unknown(&self) -> StoreError {
        let what = match &self.source {
            Source::Pool { type_name, .. } => {
                format!("`Store::pool` takes {}, not a `{type_name}`", any_of(POOLS))
            }
            _ => format!(
                "no store for `{}:` in this build; a store's URL begins with {}",
                self.scheme(),
                any_of(SCHEMES)
            ),
        };
        StoreError::new(StoreErrorKind::Configuration, what)
    }
}

fn any_of(names: &[&str]) -> String {
    if names.is_empty() { "nothing".to_owned() } else { names.join(" or ") }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("scheme", &self.scheme()).finish_non_exhaustive()
    }
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use super::{Store, StoreErrorKind};

    #[track_caller]
    fn refuses(store: &Store, what: &str) {
        let refused = store.handle().map(drop);
        let is_so = |error: &crate::StoreError| {
            error.kind() == StoreErrorKind::Configuration && error.to_string().contains(what)
        };
        assert!(refused.as_ref().is_err_and(is_so), "{refused:?}");
    }

    #[test]
    fn a_store_refuses_what_it_has_not() {
        let store = || Store::url("sqlite://shop.db");
        refuses(&store().prefix("shop_"), "takes no prefix");
        refuses(&store().schema("shop"), "takes no schema");
        refuses(&store().notify(true), "takes no `notify`");
        assert!(store().notify(false).handle().is_ok());
    }

    #[test]
    fn a_driver_takes_nothing_besides() {
        let driver = || Store::driver(crate::store::MemoryStore::new());
        refuses(&driver().prefix("shop_"), "takes no prefix");
        refuses(&driver().schema("shop"), "takes no schema");
        refuses(&driver().notify(true), "takes no `notify`");
        refuses(&driver().migrations(sqlx::migrate::Migrator::DEFAULT), "takes no migrations");
        assert!(driver().notify(false).handle().is_ok());
    }

    #[cfg(feature = "testing")]
    #[tokio::test]
    async fn a_test_takes_no_file_for_a_store_that_there_is_not() {
        let error = Store::url("mysqll://localhost/shop").apart().await.map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("no store for `mysqll:`"), "{error}");
        assert!(Store::url("sqlite://shop.db").apart().await.unwrap().is_none());
    }
}
