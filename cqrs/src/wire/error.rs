//! What is wrong with a message on the wire.

/// A message could not be read off the wire.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum WireError {
    /// The body is not the JSON of a notification event.
    #[error(
        "the body is not a notification event's JSON (`payload`, `event_id`, `event_timestamp`, `event_name`): {0}"
    )]
    Body(String),
    /// A field is in neither place.
    #[error("neither the headers nor the body say the message's `{0}`")]
    Missing(&'static str),
    /// The time is none.
    #[error("`{name}` is no time of RFC 3339: `{value}`")]
    Time {
        /// The header or field.
        name: &'static str,
        /// What it is.
        value: String,
    },
    /// A header is not what it should be.
    #[error("the header `{name}` is not {expected}: `{value}`")]
    Header {
        /// The header.
        name: &'static str,
        /// What it should be.
        expected: &'static str,
        /// What it is.
        value: String,
    },
    /// A CloudEvent in structured mode.
    #[error(
        "the body is a CloudEvent in structured mode, and only binary mode is read: send its attributes as headers"
    )]
    Structured,
    /// The body is compressed in a way that nobody here undoes.
    #[error("the body's `content-encoding` is `{encoding}`: {mend}")]
    Encoding {
        /// The encoding.
        encoding: String,
        /// What to do.
        mend: &'static str,
    },
    /// The body is not what its encoding says.
    #[cfg(feature = "compression")]
    #[error("the body is not {encoding}: {reason}")]
    Compressed {
        /// The encoding.
        encoding: &'static str,
        /// What the library said.
        reason: String,
    },
    /// The body becomes too long.
    #[cfg(feature = "compression")]
    #[error(
        "the body of {size} bytes becomes longer than {limit} when it is decompressed: raise `payload_limit` if it is sound"
    )]
    Bomb {
        /// How long it is.
        size: usize,
        /// How long it may become.
        limit: usize,
    },
}
