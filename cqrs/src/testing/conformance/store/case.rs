//! A case, and what was found.

use std::any::Any;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;

use super::StoreFixture;
use crate::store::driver::BoxFuture;

type Check = fn(Arc<dyn StoreFixture>) -> BoxFuture<'static, ()>;

/// How long a case may take.
const PATIENCE: Duration = Duration::from_mins(2);

/// One promise, and how it is checked on what a fixture gives.
pub struct Case {
    name: &'static str,
    promise: &'static str,
    check: Check,
}

impl Case {
    pub(super) const fn new(name: &'static str, promise: &'static str, check: Check) -> Self {
        Self { name, promise, check }
    }

    /// The case's name: `outbox::a_row_comes_back_as_it_was_stored`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What must hold.
    pub fn promise(&self) -> &'static str {
        self.promise
    }

    /// Checks it, on a fixture that nobody has used before.
    ///
    /// # Errors
    /// [`Broken`] where the promise is not kept.
    pub async fn check(&self, fixture: Arc<dyn StoreFixture>) -> Result<(), Broken> {
        let checked = AssertUnwindSafe((self.check)(fixture)).catch_unwind();
        let said = match tokio::time::timeout(PATIENCE, checked).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(panic)) => said(panic.as_ref()),
            Err(_) => format!("the case has not ended within {PATIENCE:?}"),
        };
        Err(Broken { case: self.name, promise: self.promise, said })
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case").field("name", &self.name).field("promise", &self.promise).finish_non_exhaustive()
    }
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without a text").to_owned()
}

/// A promise that is not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    case: &'static str,
    promise: &'static str,
    said: String,
}

impl Broken {
    /// The name of the case that found it.
    pub fn case(&self) -> &'static str {
        self.case
    }

    /// What does not hold.
    pub fn promise(&self) -> &'static str {
        self.promise
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: a promise is broken: {}\n{}", self.case, self.promise, self.said)
    }
}

impl std::error::Error for Broken {}

/// What a run of a whole suite found.
#[derive(Debug, Clone, Default)]
pub struct Report {
    kept: Vec<&'static str>,
    broken: Vec<Broken>,
}

impl Report {
    /// The cases that found nothing.
    pub fn kept(&self) -> &[&'static str] {
        &self.kept
    }

    /// The promises that are not kept.
    pub fn broken(&self) -> &[Broken] {
        &self.broken
    }

    pub(super) fn note(&mut self, case: &'static str, checked: Result<(), Broken>) {
        match checked {
            Ok(()) => self.kept.push(case),
            Err(broken) => self.broken.push(broken),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for broken in &self.broken {
            writeln!(f, "{broken}")?;
        }
        write!(f, "{} promises kept, {} broken", self.kept.len(), self.broken.len())
    }
}
