//! Dependencies: shared values handlers ask for by type, and the providers that make them.
//!
//! Values are found at wiring time and put into each handler's slots, so that a call neither hashes nor searches.

mod provide;
mod resolver;
mod scope;

use std::any::{Any, TypeId};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

pub use self::provide::{Provided, ProvidedArc, ProvidedResult, ProvidedResultArc, ProvidedValue, Shaped};
pub use self::resolver::{Resolved, Resolver};
pub(crate) use self::scope::{Scope, ScopedProvider, Slot};

/// A shared dependency, asked for by type in a handler's parameters.
///
/// `Inject<T>` is an [`Arc`] underneath: cloning is cheap, and it derefs to `T`.
///
/// ```
/// use cqrs::Inject;
///
/// struct Prices(u32);
///
/// fn total(prices: Inject<Prices>, pieces: u32) -> u32 {
///     prices.0 * pieces
/// }
///
/// assert_eq!(total(Inject::new(Prices(3)), 4), 12);   // a handler is an ordinary function: call it
/// ```
pub struct Inject<T: ?Sized>(Arc<T>);

/// What can be a dependency.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a dependency: it is not `Send + Sync`",
    label = "handlers on several threads share it",
    note = "a trait asks it of its implementations: `trait Prices: Send + Sync`; a type gets it by `Arc` for `Rc`, an atomic or a `Mutex` for `Cell` and `RefCell`"
)]
pub trait Dependency: Send + Sync + 'static {}

#[diagnostic::do_not_recommend]
impl<T: ?Sized + Send + Sync + 'static> Dependency for T {}

impl<T> Inject<T> {
    /// Makes a dependency of a value, for calling a handler as an ordinary function.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self(Arc::new(value))
    }
}

impl<T: ?Sized> Inject<T> {
    /// The shared pointer itself.
    #[must_use]
    pub fn arc(&self) -> Arc<T> {
        Arc::clone(&self.0)
    }
}

impl<T: ?Sized + Send + Sync + 'static> Inject<T> {
    pub(crate) const fn id() -> TypeId {
        TypeId::of::<Self>()
    }

    pub(crate) fn name() -> &'static str {
        std::any::type_name::<T>()
    }

    pub(crate) fn resolved(self) -> Resolved {
        Resolved::new(Arc::new(self) as Arc<dyn Any + Send + Sync>)
    }
}

impl<T: ?Sized> From<Arc<T>> for Inject<T> {
    fn from(value: Arc<T>) -> Self {
        Self(value)
    }
}

impl<T: ?Sized> Clone for Inject<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: ?Sized> Deref for Inject<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Inject<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Inject").field(&&*self.0).finish()
    }
}
