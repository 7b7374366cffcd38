//! The constants of a message type, as the derives write them down.

use std::any::TypeId;
use std::fmt;

use super::codec::{CodecError, DebugFn, DecodeFn, DuplicateFn, EncodeFn, KeyFn, ProtobufFns, RunFn};
use super::upgrade::Upgrade;

/// Which of the four derives a message carries, or that it is the context of a saga.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MessageKind {
    /// `#[derive(Command)]`.
    Command,
    /// `#[derive(Query)]`.
    Query,
    /// `#[derive(DomainEvent)]`.
    DomainEvent,
    /// `#[derive(NotificationEvent)]`.
    NotificationEvent,
    /// The context of a `#[saga]`.
    Saga,
}

impl MessageKind {
    /// The kind in words, as error texts and tables say it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Query => "query",
            Self::DomainEvent => "domain event",
            Self::NotificationEvent => "notification event",
            Self::Saga => "saga",
        }
    }
}

impl fmt::Display for MessageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A place in the user's source: where an item that the registry holds was written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceLocation {
    /// The module path, as `module_path!()` gives it.
    pub module: &'static str,
    /// The file, as `file!()` gives it.
    pub file: &'static str,
    /// The line, counted from 1.
    pub line: u32,
}

impl SourceLocation {
    /// The name of the crate the item was written in: the first segment of its module path.
    pub fn crate_name(&self) -> &'static str {
        self.module.split("::").next().unwrap_or(self.module)
    }
}

impl fmt::Debug for SourceLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for SourceLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// How a message type is turned into bytes and back, as far as the type can.
///
/// A field is `None` where the type lacks the trait (`Serialize`, `DeserializeOwned`, `Clone`, `Debug`) or is generic.
#[derive(Clone, Copy, Default)]
pub struct Codec {
    #[doc(hidden)]
    pub encode: Option<EncodeFn>,
    #[doc(hidden)]
    pub decode: Option<DecodeFn>,
    #[doc(hidden)]
    pub duplicate: Option<DuplicateFn>,
    #[doc(hidden)]
    pub debug: Option<DebugFn>,
    #[doc(hidden)]
    pub run: Option<RunFn>,
    #[doc(hidden)]
    pub protobuf: Option<ProtobufFns>,
}

impl Codec {
    /// The codec of a type that can do nothing: what generic messages have.
    pub const NONE: Self = Self { encode: None, decode: None, duplicate: None, debug: None, run: None, protobuf: None };

    /// Whether values can be both written and read back.
    pub const fn is_stored(&self) -> bool {
        self.protobuf.is_some() || (self.encode.is_some() && self.decode.is_some())
    }
}

impl Codec {
    /// What reads values of a message with this name.
    pub(crate) fn decoder(&self, name: &'static str, from_protobuf: bool) -> Result<DecodeFn, CodecError> {
        let (decode, format, mend) = if from_protobuf {
            let mend = "say `codec = \"protobuf\"` for the type";
            (self.protobuf.map(|protobuf| protobuf.decode), "Protocol Buffers", mend)
        } else {
            (self.decode, "JSON", "derive `Deserialize` for the type")
        };
        decode.ok_or(CodecError::NoCodec { message: name, format, mend })
    }

    /// Whether values can be read.
    pub(super) const fn is_read(&self) -> bool {
        self.protobuf.is_some() || self.decode.is_some()
    }
}

impl fmt::Debug for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Codec")
            .field("encode", &self.encode.is_some())
            .field("decode", &self.decode.is_some())
            .field("duplicate", &self.duplicate.is_some())
            .field("debug", &self.debug.is_some())
            .field("run", &self.run.is_some())
            .field("protobuf", &self.protobuf.is_some())
            .finish()
    }
}

/// How a notification event is written to its topic. Whoever reads it sees by the headers which it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum WireFormat {
    /// JSON in an envelope that says what it is: `"json"`.
    #[default]
    Json,
    /// A CloudEvent in binary mode: the payload's JSON is the body, what it is stands in headers. `"cloudevents"`.
    CloudEvents,
    /// Protocol Buffers, with feature `protobuf`: the message is the body, what it is stands in headers. `"protobuf"`.
    Protobuf,
}

/// The path of a message type.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum TypePath {
    /// As its derive wrote it: a function to ask for it would be compiled for each type.
    Written(&'static str),
    /// Asked for, where the arguments of a generic type belong to it.
    Asked(fn() -> &'static str),
}

/// The constants of a message type.
#[derive(Debug, Clone, Copy)]
pub struct MessageSpec {
    /// Which derive the type carries.
    pub kind: MessageKind,
    /// Whether the handler yields items (`item = ..`).
    pub streaming: bool,
    /// The stored name: `name = ".."`, or the type's own.
    pub name: &'static str,
    /// The stored version: `version = ..`, or 1.
    pub version: u32,
    /// The topic a notification event is published to: `topic = ".."`, or its name.
    pub topic: &'static str,
    /// The type itself.
    pub type_id: TypeId,
    /// The type's full path, for error texts.
    #[doc(hidden)]
    pub path: TypePath,
    /// Where the type was written.
    pub location: SourceLocation,
    /// Reads the key by which order is kept; `None` where the derive names no `key` field.
    pub key: Option<KeyFn>,
    /// How values become bytes and come back.
    pub codec: Codec,
    /// How a notification event is written to its topic: `codec = ".."`; `None` leaves it to the app.
    pub wire: Option<WireFormat>,
    /// The version whose values become values of this one: `upgrades = ..`.
    pub upgrades: Option<&'static Upgrade>,
}

impl MessageSpec {
    /// The type's full path, for error texts.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self.path {
            TypePath::Written(path) => path,
            TypePath::Asked(path) => path(),
        }
    }
}
