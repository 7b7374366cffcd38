//! Naming a store before it is connected: by URL, by pool, or by driver. No I/O happens here.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use super::driver::{Driver, HandleSpec};
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
    #[cfg_attr(not(feature = "sqlite"), expect(dead_code, reason = "read by the stores that can be named"))]
    pub(crate) options: StoreOptions,
}

/// What can be said about a store beside its address.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct StoreOptions {
    /// For tests: give up durability of the machine, not of the process.
    pub(crate) synchronous_off: bool,
}

pub(crate) enum Source {
    Url(String),
    Pool {
        #[cfg_attr(not(feature = "sqlite"), expect(dead_code, reason = "read by the stores that can be named"))]
        pool: Arc<dyn Any + Send + Sync>,
        type_name: &'static str,
    },
    Driver(Arc<dyn Driver>),
}

impl Store {
    /// Names a store by URL: `sqlite://shop.db`, `sqlite:///var/lib/shop.db`.
    pub fn url(url: impl Into<String>) -> Self {
        Self::of(Source::Url(url.into()))
    }

    /// Takes a pool of yours: `SqlitePool`.
    pub fn pool<P: Any + Send + Sync>(pool: P) -> Self {
        Self::of(Source::Pool { pool: Arc::new(pool), type_name: std::any::type_name::<P>() })
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

    /// Whether it is a driver of the user's, which tests leave as it is.
    #[cfg(feature = "testing")]
    pub(crate) fn is_driver(&self) -> bool {
        matches!(self.source, Source::Driver(_))
    }

    fn of(source: Source) -> Self {
        Self { source, migrator: None, options: StoreOptions::default() }
    }

    /// What transactions of this store lend to handlers, known without connecting.
    pub(crate) fn handle(&self) -> Result<Option<HandleSpec>, StoreError> {
        match &self.source {
            Source::Driver(driver) => Ok(driver.handle()),
            #[cfg(feature = "sqlite")]
            _ if self.is_sqlite() => Ok(Some(super::sqlite::HANDLE)),
            _ => Err(self.unknown()),
        }
    }

    /// The types of what the store gives out as dependencies, known without connecting.
    pub(crate) fn gift_types(&self) -> Vec<(std::any::TypeId, &'static str)> {
        match &self.source {
            Source::Driver(driver) => driver.gifts().into_iter().map(|gift| (gift.type_id, gift.name)).collect(),
            #[cfg(feature = "sqlite")]
            _ if self.is_sqlite() => {
                vec![(crate::Inject::<sqlx::SqlitePool>::id(), crate::Inject::<sqlx::SqlitePool>::name())]
            }
            _ => Vec::new(),
        }
    }

    /// Connects.
    #[cfg_attr(not(feature = "sqlite"), expect(clippy::unused_async, reason = "a store of this build connects"))]
    pub(crate) async fn connect(self) -> Result<Arc<dyn Driver>, StoreError> {
        #[cfg(feature = "sqlite")]
        if self.is_sqlite() {
            return Ok(Arc::new(super::sqlite::SqliteStore::connect(self).await?));
        }
        match self.source {
            Source::Driver(driver) => Ok(driver),
            _ => Err(self.unknown()),
        }
    }

    #[cfg(feature = "sqlite")]
    fn is_sqlite(&self) -> bool {
        match &self.source {
            Source::Url(_) => self.scheme() == "sqlite",
            Source::Pool { pool, .. } => pool.is::<sqlx::SqlitePool>(),
            Source::Driver(_) => false,
        }
    }

    fn unknown(&self) -> StoreError {
        let what = match &self.source {
            Source::Pool { type_name, .. } => format!("`Store::pool` takes a `SqlitePool`, not a `{type_name}`"),
            _ => format!("no store for `{}:` in this build; a store's URL begins with `sqlite:`", self.scheme()),
        };
        StoreError::new(StoreErrorKind::Configuration, what)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("scheme", &self.scheme()).finish_non_exhaustive()
    }
}
