//! What a provider's return type provides, decided by type and not by its spelling.
//!
//! A provider returns `T`, `Arc<T>`, `Result<T, E>` or `Result<Arc<T>, E>`. The four overlap, so the generated code
//! calls `(&&&Provided::<Out>::new()).shape()`: method resolution tries the most specific implementation first and
//! falls back by one reference at a time. The shape picks the implementation of [`Provides`], which has the bounds: a
//! type that cannot be shared is one error at the return type.

use std::any::TypeId;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use super::{Inject, Resolved};
use crate::BoxError;

/// The return type of a provider.
pub struct Provided<Out>(PhantomData<fn() -> Out>);

impl<Out> Provided<Out> {
    /// The only value.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "named by generated code only")]
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<Out> fmt::Debug for Provided<Out> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Provided")
    }
}

macro_rules! shapes {
    ($($(#[$doc:meta])* $trait:ident => $shape:ident, [$($generics:tt)*] $receiver:ty;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $shape;

        $(#[$doc])*
        pub trait $trait {
            /// The shape of the return type.
            fn shape(&self) -> $shape {
                $shape
            }
        }

        impl<$($generics)*> $trait for $receiver {}
    )*};
}

shapes! {
    /// `Result<Arc<T>, E>` provides `T`.
    ProvidedResultArc => FallibleShared, [T: ?Sized, E] &&Provided<Result<Arc<T>, E>>;
    /// `Result<T, E>` provides `T`.
    ProvidedResult => FallibleValue, [T, E] &Provided<Result<T, E>>;
    /// `Arc<T>` provides `T`.
    ProvidedArc => Shared, [T: ?Sized] &Provided<Arc<T>>;
    /// `T` provides `T`.
    ProvidedValue => Value, [T] Provided<T>;
}

/// A return type of a shape, with what it takes to share it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be provided",
    label = "not a dependency",
    note = "a provider returns `T`, `Arc<T>`, `Result<T, E>` or `Result<Arc<T>, E>`, where `T` is `Send + Sync + 'static` and `E` is `Into<cqrs::BoxError>`"
)]
pub trait Provides<Shape> {
    /// What is provided, as its dependents ask for it.
    type Target: ?Sized + Send + Sync + 'static;

    /// Makes the dependency.
    ///
    /// # Errors
    /// Fails with the provider's own error.
    fn provide(self) -> Result<Inject<Self::Target>, BoxError>;
}

#[diagnostic::do_not_recommend]
impl<T: ?Sized + Send + Sync + 'static, E: Into<BoxError>> Provides<FallibleShared> for Result<Arc<T>, E> {
    type Target = T;

    fn provide(self) -> Result<Inject<T>, BoxError> {
        self.map(Inject::from).map_err(Into::into)
    }
}

#[diagnostic::do_not_recommend]
impl<T: Send + Sync + 'static, E: Into<BoxError>> Provides<FallibleValue> for Result<T, E> {
    type Target = T;

    fn provide(self) -> Result<Inject<T>, BoxError> {
        self.map(Inject::new).map_err(Into::into)
    }
}

#[diagnostic::do_not_recommend]
impl<T: ?Sized + Send + Sync + 'static> Provides<Shared> for Arc<T> {
    type Target = T;

    fn provide(self) -> Result<Inject<T>, BoxError> {
        Ok(Inject::from(self))
    }
}

#[diagnostic::do_not_recommend]
impl<T: Send + Sync + 'static> Provides<Value> for T {
    type Target = T;

    fn provide(self) -> Result<Inject<T>, BoxError> {
        Ok(Inject::new(self))
    }
}

/// What is asked of a return type once its shape is known.
#[derive(Debug)]
pub struct Shaped<Shape>(pub Shape);

impl<Shape> Shaped<Shape> {
    /// The type id of `Inject<T>` and the path of `T`, for a provider that returns `Out`.
    pub fn target<Out: Provides<Shape>>(self) -> (TypeId, &'static str) {
        (Inject::<Out::Target>::id(), Inject::<Out::Target>::name())
    }

    /// Turns what the provider returned into the dependency.
    ///
    /// # Errors
    /// Fails with the provider's own error.
    pub fn provided<Out: Provides<Shape>>(self, out: Out) -> Result<Resolved, BoxError> {
        out.provide().map(Inject::resolved)
    }
}
