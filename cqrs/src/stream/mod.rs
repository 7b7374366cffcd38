//! Streams: a handler that yields items one by one, pulled by whoever reads them.
//!
//! `items` is the handler's way out, `channel` the place for one item between the two, `reader` the stream.

mod channel;
mod items;
mod reader;

pub use self::items::Items;
pub use self::reader::ItemStream;
