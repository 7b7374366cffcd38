//! Streams: a handler that yields items one by one, pulled by whoever reads them.
//!
//! `items` is the handler's way out, `options` what a caller may say about one, `channel` the place for one item between the two, `reader` the stream.

mod channel;
mod items;
mod options;
mod reader;

pub use self::items::Items;
pub use self::reader::ItemStream;
