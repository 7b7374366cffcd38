//! A program of several crates. `unlinked` and `idle` are among its dependencies, but not named here.

/// The app, with what it needs from outside.
pub fn app() -> cqrs::Builder {
    cqrs::bootstrap!(crates = [billing, shipping]).provide(messages::Log::default())
}
