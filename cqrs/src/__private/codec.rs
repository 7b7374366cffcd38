//! What a type can do, asked in a constant: an inherent constant where the bound holds, the trait's where not.

use std::any::Any;
use std::fmt::{Debug, Display};
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

#[cfg(feature = "protobuf")]
use crate::message::codec::ProtobufFns;
use crate::message::codec::{self as codec_fns, DebugFn, DecodeFn, DuplicateFn, EncodeFn, RunFn};
use crate::message::{Codec, Handled, Message};

/// Asks what `T` can do.
#[derive(Debug)]
pub struct Probe<T: ?Sized>(PhantomData<T>);

/// The answers where `T` lacks the trait.
pub trait ProbeFallback {
    /// No `Serialize`.
    const ENCODE: Option<EncodeFn> = None;
    /// No `DeserializeOwned`.
    const DECODE: Option<DecodeFn> = None;
    /// No `Clone`.
    const DUPLICATE: Option<DuplicateFn> = None;
    /// No `Debug`.
    const DEBUG: Option<DebugFn> = None;
    /// Not both `Serialize` and `DeserializeOwned`.
    const STORED: Codec = Codec::NONE;
    /// No message, which is an error elsewhere.
    const CHECKED: () = ();
}

impl<T: ?Sized> ProbeFallback for Probe<T> {}

impl<T: Message> Probe<T> {
    /// Is in error where the derive of `T` found one, so that what is generated for its handler has none of its own.
    pub const CHECKED: PhantomData<T::Checked> = PhantomData;
}

impl<T: Any + Serialize> Probe<T> {
    /// Writes `T`.
    pub const ENCODE: Option<EncodeFn> = Some(EncodeFn(codec_fns::encode::<T>));
}

impl<T: Any + Send + Sync + DeserializeOwned> Probe<T> {
    /// Reads `T`.
    pub const DECODE: Option<DecodeFn> = Some(DecodeFn(codec_fns::decode::<T>));
}

impl<T: Any + Send + Sync + Clone> Probe<T> {
    /// Clones `T`.
    pub const DUPLICATE: Option<DuplicateFn> = Some(DuplicateFn(codec_fns::duplicate::<T>));
}

impl<T: Any + Debug> Probe<T> {
    /// Shows `T`.
    pub const DEBUG: Option<DebugFn> = Some(DebugFn(codec_fns::debug::<T>));
}

impl<T: Handled + Serialize + DeserializeOwned> Probe<T> {
    /// Writes and reads `T`, and runs its handler: asked at once, for what is only written is never stored.
    pub const STORED: Codec = Codec {
        encode: Some(EncodeFn(codec_fns::encode::<T>)),
        decode: Some(DecodeFn(codec_fns::decode::<T>)),
        run: Some(RunFn(codec_fns::run::<T>)),
        ..Codec::NONE
    };
}

/// A type that can be a message.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a message: it is not `Send + Sync`",
    label = "has a field that threads cannot share",
    note = "a message is handled, queued and stored by whatever thread is free: use `Arc` for `Rc`, an atomic or a `Mutex` for `Cell` and `RefCell`"
)]
pub trait Shareable: Send + Sync {}

#[diagnostic::do_not_recommend]
impl<T: Send + Sync> Shareable for T {}

/// Checks a message type where it is derived.
#[must_use]
pub const fn checked_message<T: Shareable>() -> usize {
    0
}

/// A type that can be written as Protocol Buffers.
#[cfg(feature = "protobuf")]
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be written as Protocol Buffers: it is no `prost::Message`",
    label = "asked for here",
    note = "derive `prost::Message` for it, by the version of prost that cqrs is built with, or let `prost-build` make it of a `.proto` file"
)]
pub trait Protobuf: prost::Message + Default {}

#[cfg(feature = "protobuf")]
#[diagnostic::do_not_recommend]
impl<T: prost::Message + Default> Protobuf for T {}

/// Writes and reads an event as Protocol Buffers.
#[cfg(feature = "protobuf")]
#[must_use]
pub const fn protobuf<T: Any + Protobuf>() -> ProtobufFns {
    ProtobufFns { encode: EncodeFn(codec_fns::encode_protobuf::<T>), decode: DecodeFn(codec_fns::decode_protobuf::<T>) }
}

/// The type of a `key` field.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the key of a message",
    label = "a field that is not `Display`",
    note = "the key is stored and sent as what its `Display` writes"
)]
pub trait Key: Display {}

#[diagnostic::do_not_recommend]
impl<T: Display> Key for T {}

/// Reads the key of an erased message.
pub fn key<M: Message, K: Key>(message: &(dyn Any + Send + Sync), read: fn(&M) -> &K) -> Option<String> {
    message.downcast_ref::<M>().map(|message| read(message).to_string())
}
