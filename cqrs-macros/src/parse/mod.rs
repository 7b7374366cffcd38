//! Input as spanned data: what was written, not whether it makes sense.

mod args;
mod handler_fn;
mod item;
mod keys;
mod lifetimes;
mod steps;
mod values;

pub(crate) use self::args::{Arg, ArgValue, arguments};
pub(crate) use self::handler_fn::{FnItem, NotAFunction, fn_item, without_second_attribute};
pub(crate) use self::item::{MessageItem, NotAType, context_item, helper_arguments, message_item};
pub(crate) use self::keys::{Key, Place};
pub(crate) use self::lifetimes::{borrow, borrows_at_all, made_static, object_lifetime};
pub(crate) use self::steps::{Back, Fields, WrittenPlace, WrittenStep};
pub(crate) use self::values::{Arm, Malformed, Value};
