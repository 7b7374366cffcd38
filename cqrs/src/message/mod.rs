//! What a message is: commands, queries, domain events and notification events, as traits the derives implement.
//!
//! Nothing here runs anything. A message carries its [`MessageSpec`]: the constants the registry, the wiring pass and
//! the stores need to know about a type.

pub(crate) mod canonical;
pub(crate) mod codec;
mod spec;
mod upgrade;

use std::fmt::{Debug, Display};

pub use self::codec::CodecError;
pub(crate) use self::codec::Erased;
pub(crate) use self::codec::erased;
pub use self::spec::{Codec, MessageKind, MessageSpec, SourceLocation, TypePath, WireFormat};
pub use self::upgrade::{Upgrade, Upgrades};

/// A type that the framework carries: a command, a query, a domain event or a notification event.
///
/// Implemented by `#[derive(Command)]`, `#[derive(Query)]`, `#[derive(DomainEvent)]` and `#[derive(NotificationEvent)]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a message",
    label = "needs one of the message derives",
    note = "consider annotating `{Self}` with `#[derive(Command)]`, `#[derive(Query)]`, `#[derive(DomainEvent)]` or `#[derive(NotificationEvent)]`"
)]
pub trait Message: Sized + Send + Sync + 'static {
    /// The constants of this type: kind, stored name, version, codec.
    const SPEC: &'static MessageSpec;

    /// No type at all where the derive found that this cannot be a message: what names it is in error, too.
    #[doc(hidden)]
    type Checked;
}

/// A message with exactly one handler: a command or a query, streaming or not.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is neither a command nor a query",
    label = "has no single handler",
    note = "consider annotating `{Self}` with `#[derive(Command)]` or `#[derive(Query)]`"
)]
pub trait Handled: Message {
    /// What the handler answers with; `()` for a streaming message.
    type Response: Send + 'static;
    /// The handler's own error.
    type Error: MessageError;

    /// What a client is told of the error, if that is a `Problem`. Written by the derives.
    #[cfg(feature = "axum")]
    #[doc(hidden)]
    const PROBLEM: Option<crate::axum::known::AskFn<Self::Error>> = None;

    /// Gives a call an idempotency key, if message and response can be stored. Written by the derives.
    #[cfg(feature = "axum")]
    #[doc(hidden)]
    const KEYED: Option<crate::axum::idempotency::KeyedFn<Self>> = None;
}

/// A command: a message with exactly one handler, which may change state.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent: it is not a command",
    label = "not a command",
    note = "consider annotating `{Self}` with `#[derive(Command)]`; a query is asked with `app.query(..)`, a command with `item = ..` is streamed with `app.stream(..)`"
)]
pub trait Command: Handled {}

/// A query: a message with exactly one handler, which changes nothing.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be asked: it is not a query",
    label = "not a query",
    note = "consider annotating `{Self}` with `#[derive(Query)]`; a command is sent with `app.send(..)`, a query with `item = ..` is streamed with `app.stream(..)`"
)]
pub trait Query: Handled {}

/// A streaming command or query: its handler yields items one by one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be streamed: it has no item type",
    label = "not a streaming message",
    note = "name the item type in the derive: `#[command(item = Row)]` or `#[query(item = Row)]`"
)]
pub trait Streaming: Handled<Response = ()> {
    /// The type of one item.
    type Item: Send + 'static;
}

/// A fact: a domain event or a notification event. Handlers raise events through [`Events`](crate::Events).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event",
    label = "not an event",
    note = "consider annotating `{Self}` with `#[derive(DomainEvent)]` (it stays in this service) or `#[derive(NotificationEvent)]` (it leaves through a broker)"
)]
pub trait Event: Message {}

/// A fact that stays inside the service.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a domain event",
    label = "not a domain event",
    note = "consider annotating `{Self}` with `#[derive(DomainEvent)]`"
)]
pub trait DomainEvent: Event {}

/// A fact that leaves the service through a broker.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a notification event",
    label = "not a notification event",
    note = "consider annotating `{Self}` with `#[derive(NotificationEvent)]`"
)]
pub trait NotificationEvent: Event {}

/// What a message's `error` type must be: `Debug + Display + Send + Sync + 'static`.
///
/// Implemented for every such type, so [`BoxError`](crate::BoxError) and `anyhow::Error` fit.
pub trait MessageError: Debug + Display + Send + Sync + 'static {}

impl<T: Debug + Display + Send + Sync + 'static> MessageError for T {}

/// A message that can be stored and read back: `Serialize + DeserializeOwned`.
///
/// Implemented for every such message.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be stored",
    label = "needs `Serialize` and `Deserialize`",
    note = "consider annotating `{Self}` with `#[derive(Serialize, Deserialize)]`"
)]
pub trait Stored: Message + serde::Serialize + serde::de::DeserializeOwned {}

#[diagnostic::do_not_recommend]
impl<T: Message + serde::Serialize + serde::de::DeserializeOwned> Stored for T {}

/// A response that can be stored and read back: `Serialize + DeserializeOwned`. An
/// [`idempotency_key`](crate::Sending::idempotency_key) stores it.
///
/// Implemented for every such type.
#[diagnostic::on_unimplemented(
    message = "the response `{Self}` cannot be stored",
    label = "an idempotency key stores the response, which needs `Serialize` and `Deserialize`",
    note = "consider annotating `{Self}` with `#[derive(Serialize, Deserialize)]`"
)]
pub trait StoredResponse: serde::Serialize + serde::de::DeserializeOwned {}

#[diagnostic::do_not_recommend]
impl<T: serde::Serialize + serde::de::DeserializeOwned> StoredResponse for T {}
