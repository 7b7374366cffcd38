//! The attributes and derives with their reference, and the macros that need no macro crate: `bootstrap!`, `verify!`.

#[doc = include_str!("docs/macros/command.md")]
pub use cqrs_macros::Command;
#[doc = include_str!("docs/macros/domain_event.md")]
pub use cqrs_macros::DomainEvent;
#[doc = include_str!("docs/macros/notification_event.md")]
pub use cqrs_macros::NotificationEvent;
#[cfg(feature = "axum")]
#[doc = include_str!("docs/macros/problem.md")]
pub use cqrs_macros::Problem;
#[doc = include_str!("docs/macros/query.md")]
pub use cqrs_macros::Query;
#[doc = include_str!("docs/macros/chain_link.md")]
pub use cqrs_macros::chain_link;
#[doc = include_str!("docs/macros/command_handler.md")]
pub use cqrs_macros::command_handler;
#[doc = include_str!("docs/macros/compensation.md")]
pub use cqrs_macros::compensation;
#[doc = include_str!("docs/macros/event_handler.md")]
pub use cqrs_macros::event_handler;
#[doc = include_str!("docs/macros/fallback.md")]
pub use cqrs_macros::fallback;
#[doc = include_str!("docs/macros/middleware.md")]
pub use cqrs_macros::middleware;
#[doc = include_str!("docs/macros/provider.md")]
pub use cqrs_macros::provider;
#[doc = include_str!("docs/macros/query_handler.md")]
pub use cqrs_macros::query_handler;
#[doc = include_str!("docs/macros/saga.md")]
pub use cqrs_macros::saga;
#[doc = include_str!("docs/macros/saga_step.md")]
pub use cqrs_macros::saga_step;

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

/// Puts links in their order: a chain is the handler of its command or query.
///
/// Each link is a function under [`#[chain_link]`](crate::chain_link), named by its path, of this crate or another. All
/// links of a call share one unit of work; what a passing link wrote or raised stays; an error ends the chain. Running past
/// the end is [`ChainExhausted`](crate::DispatchError::ChainExhausted). A link in no chain, or twice in one, is a wiring
/// error.
///
/// See [`Link`](crate::Link) for an example, and [`Builder::diagram`](crate::Builder::diagram) for a picture. A chain needs two links at least:
///
/// ```compile_fail
/// # use cqrs::prelude::*;
/// # #[derive(Command)]
/// # struct Pay;
/// # #[chain_link]
/// # async fn by_card(_cmd: Pay) -> Link<Pay> { Link::Answer(()) }
/// cqrs::chain!(Pay => [by_card]);
/// ```
///
/// and is for a message that answers once:
///
/// ```compile_fail,E0080
/// # use cqrs::prelude::*;
/// # #[derive(Command)]
/// # #[command(item = u8)]
/// # struct Import;
/// # #[chain_link]
/// # async fn from_file(cmd: Import) -> Link<Import> { Link::Pass(cmd) }
/// # #[chain_link]
/// # async fn from_web(_cmd: Import) -> Link<Import> { Link::Answer(()) }
/// cqrs::chain!(Import => [from_file, from_web]);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! chain {
    ($message:ty => [] $(,)?) => {
        ::core::compile_error!("a chain without a link handles nothing\n\nhelp: list its links in their order: `cqrs::chain!(Pay => [by_card, by_invoice]);`");
    };
    ($message:ty => [$link:ty $(,)?] $(,)?) => {
        ::core::compile_error!("a chain of one link is a handler\n\nhelp: write `#[command_handler]` or `#[query_handler]` on the function instead of `#[chain_link]`, or list another link");
    };
    ($message:ty => [$($link:ty),+ $(,)?] $(,)?) => {
        const _: () = {
            // What does not fit is said here: the rest depends on it, and says nothing then.
            type __Checked = [(); {
                $crate::__private::chain_for::<$message>() $(+ $crate::__private::link_of::<$link, $message>())+
            }];
            struct __Chain;
            impl $crate::__private::Chain for __Chain
            where
                __Checked:,
            {
                const ITEM: $crate::__private::ChainItem = $crate::__private::chain_item(
                    &$crate::__private::chain_of::<$message>(
                        ::core::stringify!($message),
                        $crate::__private::SourceLocation {
                            module: ::core::module_path!(),
                            file: ::core::file!(),
                            line: ::core::line!(),
                        },
                    )
                    $(.then::<$link>())+
                );
            }
            const __ITEM: $crate::__private::ChainItem = <__Chain as $crate::__private::Chain>::ITEM;
            $crate::__private::inventory::submit! { __ITEM }
        };
    };
}

/// Checks the wiring without connecting: every problem at once, in a panic.
///
/// `cqrs::verify!(app())` checks a builder; what it `expects` counts as supplied, no provider is run.
/// `cqrs::verify!()` checks the handlers linked into the test by themselves: what no builder could mend, such as a second
/// handler, fails; what they still need of one (dependencies, a store, a broker, handlers of other crates) is printed.
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

/// Not public API: what the derive of a message says for the web module, which is generic and cannot ask.
#[cfg(feature = "axum")]
#[doc(hidden)]
#[macro_export]
macro_rules! __web_of {
    ($error:ty) => {
        const PROBLEM: ::core::option::Option<$crate::__private::AskFn<$error>> = {
            #[allow(unused_imports, reason = "where the error is a problem, the inherent constant is there")]
            use $crate::__private::ProblemFallback as _;
            $crate::__private::ProblemProbe::<$error>::ASK
        };
    };
    ($error:ty, keyed) => {
        $crate::__private::web_of! { $error }
        const KEYED: ::core::option::Option<$crate::__private::KeyedFn<Self>> = {
            #[allow(unused_imports, reason = "where the command can be stored, the inherent constant is there")]
            use $crate::__private::KeyFallback as _;
            $crate::__private::KeyProbe::<Self>::KEYED
        };
    };
}

/// Not public API: there is nobody to say it to.
#[cfg(not(feature = "axum"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __web_of {
    ($error:ty $(, keyed)?) => {};
}

/// Not public API: the Protocol Buffers of a notification event that asks for them.
#[cfg(feature = "protobuf")]
#[doc(hidden)]
#[macro_export]
macro_rules! __protobuf_of {
    ($event:ty) => {
        ::core::option::Option::Some($crate::__private::protobuf::<$event>())
    };
}

/// Not public API: there is nothing to write them with.
#[cfg(not(feature = "protobuf"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __protobuf_of {
    ($event:ty) => {
        ::core::compile_error!("`codec = \"protobuf\"` needs the feature `protobuf` of `cqrs`")
    };
}
