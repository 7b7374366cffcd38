//! Messages: commands, queries and events.

use proc_macro2::{Ident, Span};
use syn::{Generics, Member, Type};

use super::CratePath;
use crate::parse::Place;

/// Which derive a message carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MessageKind {
    Command,
    Query,
    DomainEvent,
    NotificationEvent,
    /// `#[saga]`, which is an attribute.
    Saga,
}

impl MessageKind {
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Query => "query",
            Self::DomainEvent => "domain event",
            Self::NotificationEvent => "notification event",
            Self::Saga => "saga",
        }
    }

    /// The derive, and the variant of the runtime's `MessageKind`.
    pub(crate) fn derive(self) -> &'static str {
        match self {
            Self::Command => "Command",
            Self::Query => "Query",
            Self::DomainEvent => "DomainEvent",
            Self::NotificationEvent => "NotificationEvent",
            Self::Saga => "Saga",
        }
    }

    /// The helper attribute the derive reads.
    pub(crate) fn place(self) -> Place {
        match self {
            Self::Command => Place::CommandDerive,
            Self::Query => Place::QueryDerive,
            Self::DomainEvent | Self::NotificationEvent => Place::EventDerive,
            Self::Saga => Place::Saga,
        }
    }
}

/// A message type.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) kind: MessageKind,
    pub(crate) ident: Ident,
    pub(crate) generics: Generics,
    pub(crate) name: String,
    pub(crate) version: u32,
    pub(crate) topic: String,
    pub(crate) key: Option<Member>,
    /// The type of the version before.
    pub(crate) upgrades: Option<Type>,
    pub(crate) wire: Option<Wire>,
    pub(crate) answer: Answer,
    pub(crate) krate: CratePath,
}

/// How a notification event is written: the word's place, and what it says.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) at: Span,
    pub(crate) format: WireFormat,
}

/// The variants of the runtime's `WireFormat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WireFormat {
    Json,
    CloudEvents,
    Protobuf,
}

impl WireFormat {
    /// The words for them.
    pub(crate) const WORDS: &'static [(&'static str, Self)] =
        &[("json", Self::Json), ("cloudevents", Self::CloudEvents), ("protobuf", Self::Protobuf)];

    pub(crate) fn variant(self) -> &'static str {
        match self {
            Self::Json => "Json",
            Self::CloudEvents => "CloudEvents",
            Self::Protobuf => "Protobuf",
        }
    }
}

/// What the handler of a message answers with; a type left out has a default.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Events have no answer.
    None,
    Once {
        response: Option<Type>,
        error: Option<Type>,
    },
    Stream {
        item: Type,
        error: Option<Type>,
    },
}
