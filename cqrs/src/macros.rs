//! The attributes and derives with their reference, and the macros that need no macro crate: `bootstrap!`, `verify!`.

#[doc = include_str!("docs/macros/command.md")]
pub use cqrs_macros::Command;
#[doc = include_str!("docs/macros/domain_event.md")]
pub use cqrs_macros::DomainEvent;
#[doc = include_str!("docs/macros/notification_event.md")]
pub use cqrs_macros::NotificationEvent;
#[doc = include_str!("docs/macros/query.md")]
pub use cqrs_macros::Query;
#[doc = include_str!("docs/macros/command_handler.md")]
pub use cqrs_macros::command_handler;
#[doc = include_str!("docs/macros/event_handler.md")]
pub use cqrs_macros::event_handler;
#[doc = include_str!("docs/macros/middleware.md")]
pub use cqrs_macros::middleware;
#[doc = include_str!("docs/macros/provider.md")]
pub use cqrs_macros::provider;
#[doc = include_str!("docs/macros/query_handler.md")]
pub use cqrs_macros::query_handler;

/// Gathers everything the attributes registered in this program into an inert [`Builder`](crate::Builder).
///
/// `cqrs::bootstrap!(crates = [billing, shipping])` names crates that are linked for their handlers only: naming them
/// links them. A crate that is named and registers nothing is warned about.
///
/// ```standalone_crate
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), cqrs::Error> {
/// let app = cqrs::bootstrap!().await?;
/// # drop(app);
/// # Ok(())
/// # }
/// ```
#[macro_export]
macro_rules! bootstrap {
    () => {
        $crate::Builder::linked(&[])
    };
    (crates = [$($name:ident),* $(,)?] $(,)?) => {{
        $(
            #[allow(unused_imports, reason = "linking the crate is the use")]
            use $name as _;
        )*
        $crate::Builder::linked(&[$(::core::stringify!($name)),*])
    }};
}

/// Checks the wiring without connecting: every problem at once, in a panic.
///
/// `cqrs::verify!(app())` checks a builder; what it `expects` counts as supplied, no provider is run.
/// `cqrs::verify!()` checks the handlers linked into the test, and prints what they still need instead of failing.
///
/// ```standalone_crate
/// # fn app() -> cqrs::Builder { cqrs::bootstrap!() }
/// cqrs::verify!(app());
/// ```
#[macro_export]
macro_rules! verify {
    () => {
        $crate::__private::verify_linked()
    };
    ($builder:expr $(,)?) => {
        $crate::__private::verify($builder)
    };
}
