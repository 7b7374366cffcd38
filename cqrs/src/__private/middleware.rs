use crate::middleware::{Call, Next, Outcome};

/// The first parameter of a middleware.
#[diagnostic::on_unimplemented(
    message = "the first parameter of a middleware is `Call<'_>`, not `{Self}`",
    label = "not `Call<'_>`",
    note = "a middleware is `async fn audit(call: Call<'_>, next: Next<'_>, ..) -> Outcome`"
)]
pub trait IsCall<'a> {
    /// Passes the call on.
    fn of(call: Call<'a>) -> Self;
}

impl<'a> IsCall<'a> for Call<'a> {
    fn of(call: Self) -> Self {
        call
    }
}

/// Passes the call on.
pub fn middleware_call<'a, C: IsCall<'a>>(call: Call<'a>) -> C {
    C::of(call)
}

/// The second parameter of a middleware.
#[diagnostic::on_unimplemented(
    message = "the second parameter of a middleware is `Next<'_>`, not `{Self}`",
    label = "not `Next<'_>`",
    note = "a middleware is `async fn audit(call: Call<'_>, next: Next<'_>, ..) -> Outcome`"
)]
pub trait IsNext<'a> {
    /// Passes the rest of the way on.
    fn of(next: Next<'a>) -> Self;
}

impl<'a> IsNext<'a> for Next<'a> {
    fn of(next: Self) -> Self {
        next
    }
}

/// Passes the rest of the way on.
pub fn middleware_next<'a, N: IsNext<'a>>(next: Next<'a>) -> N {
    N::of(next)
}

/// What a middleware returns.
#[diagnostic::on_unimplemented(
    message = "a middleware returns `Outcome`, not `{Self}`",
    label = "not `Outcome`",
    note = "return what `next.run().await` gave, or `Outcome::reject(error)`"
)]
pub trait IsOutcome {
    /// Passes the outcome on.
    fn outcome(self) -> Outcome;
}

impl IsOutcome for Outcome {
    fn outcome(self) -> Outcome {
        self
    }
}

/// Passes the outcome on.
pub fn middleware_outcome<O: IsOutcome>(outcome: O) -> Outcome {
    outcome.outcome()
}
