//! What every store promises: the doc comments of [`Driver`](crate::store::driver::Driver), of
//! [`Transaction`](crate::store::driver::Transaction) and of [`Operations`](crate::store::Operations), as cases.
//!
//! [`store_conformance!`](crate::testing::store_conformance) makes a test of each case; [`check_all`] runs them in one
//! go and reports. Both need a [`StoreFixture`]: how to get at a store that is empty.
//!
//! A store may share out its rows one by one, or give an instance whole parts of its keys for a while. So where two
//! instances compete, the cases do not ask who gets which row: no row is with two of them at a time, the order of each
//! key is kept, everything comes to somebody in the end, and whoever was too late changes nothing.
//!
//! ```
//! use cqrs::store::driver::BoxFuture;
//! use cqrs::testing::conformance::store::{StoreFixture, check_all};
//! use cqrs::{BoxError, Store};
//!
//! /// A file of its own, which goes with the fixture. In a test module one line is all it takes then:
//! /// `cqrs::testing::store_conformance!(File::new());`
//! struct File(tempfile::TempDir);
//!
//! impl File {
//!     fn new() -> Self {
//!         Self(tempfile::tempdir().unwrap())
//!     }
//! }
//!
//! impl StoreFixture for File {
//!     fn store(&self) -> BoxFuture<'_, Result<Store, BoxError>> {
//!         Box::pin(async { Ok(Store::url(format!("sqlite://{}", self.0.path().join("app.db").display()))) })
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let report = check_all(async || File::new()).await;
//! assert!(report.broken().is_empty(), "{report}");
//! # }
//! ```

#![expect(clippy::unwrap_used, clippy::panic, reason = "a case that panics is a promise that is broken")]

mod bench;
mod case;
mod cases;
mod dead;
mod idempotent;
mod inbox;
mod operations;
mod outbox;
mod sagas;
mod texts;
mod timers;
mod unit;
mod upkeep;
mod work;

use std::sync::Arc;

use self::bench::Bench;
pub use self::case::{Broken, Case, Report};
pub use self::cases::cases;
use crate::BoxError;
use crate::store::Store;
use crate::store::driver::BoxFuture;

/// A place for a store, of a test's own, with nothing in it.
pub trait StoreFixture: Send + Sync + 'static {
    /// Names the store: by URL, by pool, or by driver, [`Store::driver`]. Asked several times, it names the same one each
    /// time, as another process would that connects to it. The suite connects and migrates it.
    fn store(&self) -> BoxFuture<'_, Result<Store, BoxError>>;

    /// Removes it, after a case that found nothing. What a broken promise has left is kept to be looked at, unless it
    /// goes with the fixture.
    fn remove(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// Checks one case, by name, on a runtime of its own.
///
/// # Panics
/// Panics where the promise is broken, with a text that says which it is; or where there is no such case.
pub fn run<F: StoreFixture>(name: &str, fixture: impl Future<Output = F>) {
    let Some(case) = cases().iter().find(|case| case.name() == name) else { panic!("there is no case `{name}`") };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    if let Err(broken) = runtime.block_on(async { case.check(Arc::new(fixture.await)).await }) {
        panic!("{broken}");
    }
}

/// Checks every case, each on a fixture that is made for it, and says what was found.
pub async fn check_all<F: StoreFixture>(fresh: impl AsyncFn() -> F) -> Report {
    let mut report = Report::default();
    for case in cases() {
        report.note(case.name(), case.check(Arc::new(fresh().await)).await);
    }
    report
}
