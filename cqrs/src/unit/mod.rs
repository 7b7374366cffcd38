//! The unit of work: one handler call, its transaction, and the events it raised.
//!
//! `cx` is what travels through a handler's future and back, `param` how a parameter takes its part of it, `tx` and
//! `begin` the transaction as the handler sees it, `meta` what is known about the call, `run` the unit itself.

#[cfg(feature = "any")]
pub(crate) mod any;
mod begin;
mod cx;
mod meta;
mod param;
pub mod role;
mod slot;
mod tx;

pub use self::begin::Begin;
pub use self::cx::Cx;
pub(crate) use self::cx::{Parts, Unit};
pub use self::meta::Meta;
pub(crate) use self::meta::{MetaInit, made};
pub use self::param::{
    Param, TakenBy, parameter, parameters, parameters0, parameters1, parameters2, parameters3, parameters4, parameters5,
};
pub(crate) use self::slot::{AttemptMark, Home, TxSlot};
pub use self::tx::{Carried, Tx, TxOf};
