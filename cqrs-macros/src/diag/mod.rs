//! What the macros tell the user: where an error goes, its text, and the nearest word.
//!
//! Which input is an error is decided in [`validate`](crate::validate).

pub(crate) mod catalogue;
mod sink;
mod suggest;
mod text;

pub(crate) use self::sink::Sink;
pub(crate) use self::suggest::nearest;
pub(crate) use self::text::Text;
