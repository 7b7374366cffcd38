//! Where the usual names mean something else.

macro_rules! shadow {
    ($($name:ident)*) => {$(
        #[doc = concat!("Not the usual `", stringify!($name), "`.")]
        #[derive(Debug)]
        pub struct $name;
    )*};
}

// `Debug` and the derives of `serde` expand to absolute paths, as ours do.
shadow! {
    Result Option Some None Ok Err Send Sync Sized Copy Clone Drop Fn FnMut FnOnce String ToString ToOwned Box Default
    Vec From Into TryFrom TryInto AsRef AsMut Iterator IntoIterator Extend Future IntoFuture Pin Arc Any TypeId
    Inject Events Tx Begin Meta App Items Param Message Handled Command Query Event HandlerItem SourceLocation
}

/// Not the usual `core`.
pub mod core {}
/// Not the usual `std`.
pub mod std {}
/// Not the framework.
pub mod bus {}
/// Not the framework's own name.
pub mod cqrs {}
/// Not what the macros hold on to.
pub mod __private {}
/// Not what the macros hold on to.
pub mod inventory {}

/// Published, consumed and stored: its name is its own in the whole program.
#[derive(Debug, ::bus::NotificationEvent, ::bus::serde::Serialize, ::bus::serde::Deserialize)]
#[event(name = "shadowed_left", topic = "shadowed", key = to, version = 3, crate = ::bus)]
#[serde(crate = "::bus::serde")]
pub struct Left {
    /// Whom it went to.
    pub to: ::std::string::String,
}

/// A domain event that is stored.
#[derive(
    ::core::fmt::Debug, ::core::clone::Clone, ::bus::DomainEvent, ::bus::serde::Serialize, ::bus::serde::Deserialize,
)]
#[event(name = "shadowed_placed", version = 2, crate = ::bus)]
#[serde(crate = "::bus::serde")]
pub enum Placed {
    /// At a place.
    At(u64),
}

/// Stored, and run later.
#[derive(Debug, ::bus::Command, ::bus::serde::Serialize, ::bus::serde::Deserialize)]
#[command(name = "shadowed_later", version = 2, crate = ::bus)]
#[serde(crate = "::bus::serde")]
pub struct Later(pub u64);

include!("everything.rs");
