//! Bytes of messages: JSON or Protocol Buffers in and out, type-erased.

use std::any::Any;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::dispatch::{AnyCall, Failure};
use crate::message::{Handled, Message};
use crate::registry::EventFuture;
use crate::unit::Cx;

/// A message value whose type only its [`MessageSpec`](super::MessageSpec) still knows.
pub(crate) type Erased = Arc<dyn Any + Send + Sync>;

// Types of their own rather than names for the pointers' types: a derive writes a value of each, and the compiler would
// compare the whole signature with itself for every message.

/// Writes a message as JSON.
#[derive(Debug, Clone, Copy)]
pub struct EncodeFn(pub(crate) fn(&(dyn Any + Send + Sync)) -> Result<Vec<u8>, CodecError>);
/// Reads a message from JSON.
#[derive(Debug, Clone, Copy)]
pub struct DecodeFn(pub(crate) fn(&[u8]) -> Result<Erased, CodecError>);
/// Clones a message.
#[derive(Debug, Clone, Copy)]
pub struct DuplicateFn(pub(crate) fn(&(dyn Any + Send + Sync)) -> Option<Erased>);
/// Writes a message with its `Debug`.
#[derive(Debug, Clone, Copy)]
pub struct DebugFn(pub(crate) fn(&(dyn Any + Send + Sync)) -> Option<String>);
/// Runs the handler of a stored command: its `CallThunk`, the command, the context.
#[derive(Debug, Clone, Copy)]
pub struct RunFn(pub(crate) for<'a> fn(&'static (dyn Any + Send + Sync), Erased, Cx<'a>, u32) -> EventFuture<'a>);

/// Writes a message as Protocol Buffers, and reads it.
#[derive(Debug, Clone, Copy)]
pub struct ProtobufFns {
    pub(crate) encode: EncodeFn,
    pub(crate) decode: DecodeFn,
}
/// Makes a message of its earlier version.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConvertFn(pub(crate) fn(Erased) -> Option<Erased>);

/// Reads a message's key.
pub(crate) type KeyFn = fn(&(dyn Any + Send + Sync)) -> Option<String>;

/// A message could not be turned into bytes, or bytes not into a message.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The value could not be written.
    #[error("cannot write `{message}` as {format}: {reason}")]
    Encode {
        /// `JSON` or `Protocol Buffers`.
        format: &'static str,
        /// The message's type.
        message: &'static str,
        /// What the serialiser said.
        reason: String,
    },
    /// The bytes are not a value of this type.
    #[error("cannot read `{message}` from {format}: {reason}")]
    Decode {
        /// `JSON` or `Protocol Buffers`.
        format: &'static str,
        /// The message's type.
        message: &'static str,
        /// What the deserialiser said.
        reason: String,
    },
    /// The value is of another type than the codec's.
    #[error("the value is not a `{message}`")]
    WrongType {
        /// The type the codec is for.
        message: &'static str,
    },
    /// The type has no codec for these bytes.
    #[error("`{message}` cannot be read from {format}: {mend}")]
    NoCodec {
        /// The message's stored name.
        message: &'static str,
        /// `JSON` or `Protocol Buffers`.
        format: &'static str,
        /// How to give it one.
        mend: &'static str,
    },
    /// The version is neither the type's nor one it upgrades.
    #[error("`{message}` reads no version {version}: say `upgrades = ..` for the type that does")]
    Version {
        /// The message's stored name.
        message: &'static str,
        /// The version.
        version: u32,
    },
}

pub(crate) const JSON: &str = "JSON";
#[cfg(feature = "protobuf")]
pub(crate) const PROTOBUF: &str = "Protocol Buffers";

pub(crate) fn erased<M: Message>(message: M) -> Erased {
    Arc::new(message)
}

pub(crate) fn encode<T: Any + Serialize>(value: &(dyn Any + Send + Sync)) -> Result<Vec<u8>, CodecError> {
    let message = std::any::type_name::<T>();
    let value = value.downcast_ref::<T>().ok_or(CodecError::WrongType { message })?;
    serde_json::to_vec(value).map_err(|error| CodecError::Encode { format: JSON, message, reason: error.to_string() })
}

pub(crate) fn decode<T: Any + Send + Sync + DeserializeOwned>(bytes: &[u8]) -> Result<Erased, CodecError> {
    match serde_json::from_slice::<T>(bytes) {
        Ok(value) => Ok(Arc::new(value)),
        Err(error) => {
            Err(CodecError::Decode { format: JSON, message: std::any::type_name::<T>(), reason: error.to_string() })
        }
    }
}

#[cfg(feature = "protobuf")]
pub(crate) fn encode_protobuf<T: Any + prost::Message>(value: &(dyn Any + Send + Sync)) -> Result<Vec<u8>, CodecError> {
    let message = std::any::type_name::<T>();
    let value = value.downcast_ref::<T>().ok_or(CodecError::WrongType { message })?;
    Ok(value.encode_to_vec())
}

#[cfg(feature = "protobuf")]
pub(crate) fn decode_protobuf<T: Any + prost::Message + Default>(bytes: &[u8]) -> Result<Erased, CodecError> {
    match T::decode(bytes) {
        Ok(value) => Ok(Arc::new(value)),
        Err(error) => {
            Err(CodecError::Decode { format: PROTOBUF, message: std::any::type_name::<T>(), reason: error.to_string() })
        }
    }
}

pub(crate) fn duplicate<T: Any + Send + Sync + Clone>(value: &(dyn Any + Send + Sync)) -> Option<Erased> {
    value.downcast_ref::<T>().map(|value| Arc::new(value.clone()) as Erased)
}

pub(crate) fn debug<T: Any + std::fmt::Debug>(value: &(dyn Any + Send + Sync)) -> Option<String> {
    value.downcast_ref::<T>().map(|value| format!("{value:?}"))
}

pub(crate) fn run<'a, M: Handled>(
    thunk: &'static (dyn Any + Send + Sync),
    message: Erased,
    cx: Cx<'a>,
    handler: u32,
) -> EventFuture<'a> {
    let message = message.downcast::<M>().ok().and_then(Arc::into_inner);
    let call = match message {
        Some(message) => AnyCall::<M>::new(thunk, message, cx, handler),
        None => Err(cx),
    };
    Box::pin(async move {
        match call {
            Ok(call) => {
                let (result, cx) = call.await;
                let item = cx.app.planned(handler).item;
                let in_vain = cx.unit.as_ref().is_some_and(|unit| unit.in_vain);
                (result.map(drop).map_err(|error| Failure::of_call(error, item, in_vain).into()), cx)
            }
            Err(cx) => (Err(CodecError::WrongType { message: std::any::type_name::<M>() }.into()), cx),
        }
    })
}
