//! How a parameter takes its part of the unit of work, by its type, and which kinds of function may ask for it.

use sqlx::Database;

use super::role::{FallbackHandler, Raises, Sends, Writes, Yields};
use super::{Begin, Meta, Parts, Tx};
use crate::app::App;
use crate::event::Events;
use crate::inject::{Dependency, Inject};
use crate::policy::Cause;
use crate::registry::Need;
use crate::stream::Items;

/// A parameter that a function with the role `R` may take. The table of implementations is closed.
///
/// Apart from [`Param`], so that the taking itself is compiled once per type, not once per handler.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a parameter this function can take",
    label = "not known here",
    note = "a handler takes the message first, then any of: `Inject<T>`, `&mut Events`, `&mut Tx<Db>`, `&mut Begin<Db>`, `&Meta`, `&App`, `&mut Items<T>`; anything else is a dependency: `Inject<T>`"
)]
pub trait TakenBy<'c, R>: Param<'c> {}

impl<R, T: ?Sized + Dependency> TakenBy<'_, R> for Inject<T> {}
impl<'c, R: Raises> TakenBy<'c, R> for &'c mut Events {}
impl<'c, R: Writes, Db: Database> TakenBy<'c, R> for &'c mut Tx<Db> {}
impl<'c, R: Writes, Db: Database> TakenBy<'c, R> for &'c mut Begin<Db> {}
impl<'c, R> TakenBy<'c, R> for &'c Meta {}
impl<'c, R: Sends> TakenBy<'c, R> for &'c App {}
impl<'c, R: Yields<T>, T: Send + 'static> TakenBy<'c, R> for &'c mut Items<T> {}

impl<M, E: Send + 'static> TakenBy<'_, FallbackHandler<M>> for Cause<E> {}

/// A parameter of a handler.
pub trait Param<'c>: Sized {
    /// What the parameter asks for.
    const NEED: Need;

    /// Takes the part; `None` only where the unit was made without it, which wiring rules out.
    fn take(parts: &mut Parts<'c>) -> Option<Self>;
}

impl<'c, T: ?Sized + Dependency> Param<'c> for Inject<T> {
    const NEED: Need = Need::Inject { type_id: Self::id(), name: Self::name };

    #[inline]
    fn take(parts: &mut Parts<'c>) -> Option<Self> {
        parts.inject()
    }
}

impl<'c> Param<'c> for &'c mut Events {
    const NEED: Need = Need::Events;

    #[inline]
    fn take(parts: &mut Parts<'c>) -> Option<Self> {
        parts.events.take()
    }
}

impl<'c, Db: Database> Param<'c> for &'c mut Tx<Db> {
    const NEED: Need = Need::Tx { type_id: std::any::TypeId::of::<Tx<Db>>(), name: std::any::type_name::<Db> };

    fn take(parts: &mut Parts<'c>) -> Option<Self> {
        parts.unit.as_mut()?.tx.take()?.handle()?.downcast_mut()
    }
}

impl<'c, Db: Database> Param<'c> for &'c mut Begin<Db> {
    const NEED: Need = Need::Begin { type_id: std::any::TypeId::of::<Tx<Db>>(), name: std::any::type_name::<Db> };

    fn take(parts: &mut Parts<'c>) -> Option<Self> {
        parts.unit.as_mut()?.tx.take()?.late(&|store, open| Box::new(Begin::<Db>::of_unit(store, open)))?.downcast_mut()
    }
}

impl<'c> Param<'c> for &'c Meta {
    const NEED: Need = Need::Meta;

    fn take(parts: &mut Parts<'c>) -> Option<Self> {
        Some(parts.unit.as_ref()?.meta)
    }
}

impl<'c> Param<'c> for &'c App {
    const NEED: Need = Need::App;

    fn take(parts: &mut Parts<'c>) -> Option<Self> {
        Some(parts.app)
    }
}

impl<'c, T: Send + 'static> Param<'c> for &'c mut Items<T> {
    const NEED: Need = Need::Items;

    fn take(parts: &mut Parts<'c>) -> Option<Self> {
        parts.unit.as_mut()?.items.take()?.downcast_mut()
    }
}

impl<'c, E: Send + 'static> Param<'c> for Cause<E> {
    const NEED: Need = Need::Cause;

    fn take(parts: &mut Parts<'c>) -> Option<Self> {
        let cause = parts.unit.as_mut()?.cause.take()?;
        cause.downcast().ok().map(|cause| *cause)
    }
}
