//! The macros without a macro crate: `bootstrap!` and `verify!`.

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
