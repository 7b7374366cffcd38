use crate::Inject;
use crate::inject::{Dependency, Resolver};
use crate::registry::Need;
use crate::unit::{Meta, role};

/// A parameter of a provider or a middleware with the role `R`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a parameter this function can take",
    label = "not known here",
    note = "a provider takes any number of `Inject<T>`, and `&Meta` where its scope is `message`; a middleware takes `Call<'_>`, `Next<'_>` and any number of `Inject<T>`"
)]
pub trait ProviderParam<'a, R>: Sized {
    /// What the parameter asks for.
    const NEED: Need;

    /// Takes it.
    fn take(resolver: &mut Resolver<'a>) -> Option<Self>;
}

impl<R, T: ?Sized + Dependency> ProviderParam<'_, R> for Inject<T> {
    const NEED: Need = Need::Inject { type_id: Self::id(), name: Self::name };

    fn take(resolver: &mut Resolver<'_>) -> Option<Self> {
        resolver.inject()
    }
}

impl<'a> ProviderParam<'a, role::MessageProvider> for &'a Meta {
    const NEED: Need = Need::Meta;

    fn take(resolver: &mut Resolver<'a>) -> Option<Self> {
        resolver.meta()
    }
}

/// Takes a parameter.
///
/// # Panics
/// Never, unless the resolver was built without what the item asks for.
#[expect(clippy::expect_used, reason = "wiring has proved that every dependency is there")]
pub fn dependency<'a, P: ProviderParam<'a, R>, R>(resolver: &mut Resolver<'a>) -> P {
    P::take(resolver).expect("a dependency is missing that wiring had found; please report this")
}
