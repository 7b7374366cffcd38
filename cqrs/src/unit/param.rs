//! How a parameter takes its part of the unit of work, by its type, and which kinds of function may ask for it.

use super::role::{FallbackHandler, Keyed, Raises, Sends, Writes, Yields};
use super::{Begin, Cx, Meta, Parts, Tx, TxOf};
use crate::app::App;
use crate::event::Events;
use crate::inject::{Dependency, Inject};
use crate::policy::Cause;
use crate::registry::Need;
use crate::saga::StepKey;
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
impl<'c, R: Writes, Db: TxOf> TakenBy<'c, R> for &'c mut Tx<Db> {}
impl<'c, R: Writes, Db: TxOf> TakenBy<'c, R> for &'c mut Begin<Db> {}
impl<'c, R> TakenBy<'c, R> for &'c Meta {}
impl<'c, R: Sends> TakenBy<'c, R> for &'c App {}
impl<'c, R: Yields<T>, T: Send + 'static> TakenBy<'c, R> for &'c mut Items<T> {}

impl<M, E: Send + 'static> TakenBy<'_, FallbackHandler<M>> for Cause<E> {}
impl<R: Keyed> TakenBy<'_, R> for StepKey {}

/// A parameter of a handler.
pub trait Param<'c>: Sized {
    /// What the parameter asks for.
    const NEED: Need;

    /// Takes the part; `None` only where the unit was made without it, which wiring rules out.
    fn take(parts: &mut Parts<'c>) -> Option<Self>;
}

/// How one parameter is taken.
///
/// A function rather than a bound on `P`: where `P` is no parameter, [`parameter`] says so, and nobody after it.
#[derive(Debug)]
pub struct Taker<'c, P>(fn(&mut Parts<'c>) -> P);

/// How the parameters of a function are taken: a list of pairs, `(first, (second, ()))`, for there is no longest one.
pub trait TakeAll<'c> {
    /// The parameters.
    type Taken;

    /// Takes them in their order.
    fn take_all(self, parts: &mut Parts<'c>) -> Self::Taken;
}

impl TakeAll<'_> for () {
    type Taken = ();

    #[inline]
    fn take_all(self, _: &mut Parts<'_>) {}
}

impl<'c, P, Rest: TakeAll<'c>> TakeAll<'c> for (Taker<'c, P>, Rest) {
    type Taken = (P, Rest::Taken);

    #[inline]
    fn take_all(self, parts: &mut Parts<'c>) -> Self::Taken {
        (self.0.0(parts), self.1.take_all(parts))
    }
}

/// Asks for a parameter of a function with the role `R`.
#[inline]
pub fn parameter<'c, P: TakenBy<'c, R>, R>() -> Taker<'c, P> {
    Taker(take::<P>)
}

/// Compiled once per type of parameter, not once per list of them.
#[expect(clippy::expect_used, reason = "wiring has proved that every part is there")]
fn take<'c, P: Param<'c>>(parts: &mut Parts<'c>) -> P {
    P::take(parts).expect("the unit of work lacks a part that its handler asks for; please report this")
}

macro_rules! parameters {
    ($($(#[$doc:meta])* $name:ident($($taker:ident: $P:ident),*);)*) => {$(
        $(#[$doc])*
        #[inline(never)]
        pub fn $name<'c $(, $P)*>(context: &'c mut Cx<'_>, handler: u32 $(, $taker: Taker<'c, $P>)*) -> ($($P,)*) {
            context.lend(handler, |parts| ($($taker.0(parts),)*))
        }
    )*};
}

// All of them by one call, out of line: it is compiled once per list of types, and a handler has one place, not one for
// each parameter, from which it may have to unwind. One function for each usual length: of them nothing is asked, while
// of a list the compiler has to find out, for each handler, how it is taken.
parameters! {
    /// Takes one parameter from a call's context; `handler` is the handler's number in the app's plan.
    parameters1(a: A);
    /// Takes two.
    parameters2(a: A, b: B);
    /// Takes three.
    parameters3(a: A, b: B, c: C);
    /// Takes four.
    parameters4(a: A, b: B, c: C, d: D);
    /// Takes five.
    parameters5(a: A, b: B, c: C, d: D, e: E);
}

/// Takes none: the call is announced all the same.
#[inline(never)]
pub fn parameters0(context: &mut Cx<'_>, handler: u32) {
    context.lend(handler, |_| ());
}

/// Takes any number of parameters.
#[inline(never)]
pub fn parameters<'c, L: TakeAll<'c>>(context: &'c mut Cx<'_>, handler: u32, list: L) -> L::Taken {
    context.lend(handler, |parts| list.take_all(parts))
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

impl<'c, Db: TxOf> Param<'c> for &'c mut Tx<Db> {
    const NEED: Need = Need::Tx { type_id: std::any::TypeId::of::<Tx<Db>>(), name: std::any::type_name::<Db> };

    fn take(parts: &mut Parts<'c>) -> Option<Self> {
        Db::parameter(parts.unit.as_mut()?.tx.take()?)
    }
}

impl<'c, Db: TxOf> Param<'c> for &'c mut Begin<Db> {
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

impl<'c> Param<'c> for StepKey {
    const NEED: Need = Need::StepKey;

    fn take(parts: &mut Parts<'c>) -> Option<Self> {
        parts.unit.as_ref()?.key.cloned()
    }
}
