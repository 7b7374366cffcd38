//! Where no name is there by itself.
#![no_implicit_prelude]

/// Published, consumed and stored: its name is its own in the whole program.
#[derive(::core::fmt::Debug, ::bus::NotificationEvent, ::bus::serde::Serialize, ::bus::serde::Deserialize)]
#[event(name = "bare_left", topic = "bare", key = to, version = 3, crate = ::bus)]
#[serde(crate = "::bus::serde")]
pub struct Left {
    /// Whom it went to.
    pub to: ::std::string::String,
}

/// A domain event that is stored.
#[derive(
    ::core::fmt::Debug, ::core::clone::Clone, ::bus::DomainEvent, ::bus::serde::Serialize, ::bus::serde::Deserialize,
)]
#[event(name = "bare_placed", version = 2, crate = ::bus)]
#[serde(crate = "::bus::serde")]
pub enum Placed {
    /// At a place.
    At(u64),
}

/// Stored, and run later.
#[derive(::core::fmt::Debug, ::bus::Command, ::bus::serde::Serialize, ::bus::serde::Deserialize)]
#[command(name = "bare_later", version = 2, crate = ::bus)]
#[serde(crate = "::bus::serde")]
pub struct Later(pub u64);

::core::include!("everything.rs");
