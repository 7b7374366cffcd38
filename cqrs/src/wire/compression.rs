//! Bodies that are compressed: the header says how, and a limit says how long they may become.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{CONTENT_ENCODING, WireError, headers};

/// How the bodies of notification events are compressed. Whoever reads them sees by the header `content-encoding`; there
/// nothing needs to be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// By zlib (RFC 1950), with feature `compression`.
    Zlib,
    /// By Zstandard (RFC 8878), with feature `compression`.
    Zstd,
}

impl Compression {
    /// Whether this build can do it.
    pub(crate) const fn is_available(self) -> bool {
        matches!(self, Self::None) || cfg!(feature = "compression")
    }

    /// By the header's word.
    fn named(encoding: &str) -> Option<Self> {
        match encoding {
            "identity" | "" => Some(Self::None),
            // What HTTP calls deflate is zlib.
            "zlib" | "deflate" => Some(Self::Zlib),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// Below this a body is not worth it.
#[cfg(feature = "compression")]
const LEAST: usize = 256;

/// Compresses a body where that makes it shorter, and says so in its headers.
#[cfg(feature = "compression")]
pub(super) fn compressed(how: Compression, body: Vec<u8>, headers: &mut BTreeMap<String, String>) -> Vec<u8> {
    if body.len() < LEAST {
        return body;
    }
    let (word, smaller) = match how {
        Compression::None => return body,
        Compression::Zlib => ("zlib", zlib(&body)),
        Compression::Zstd => ("zstd", zstd::bulk::compress(&body, zstd::DEFAULT_COMPRESSION_LEVEL)),
    };
    match smaller {
        Ok(smaller) if smaller.len() < body.len() => {
            headers.insert(CONTENT_ENCODING.to_owned(), word.to_owned());
            smaller
        }
        // Not even shorter, or no memory for it: it goes as it is.
        _ => body,
    }
}

#[cfg(not(feature = "compression"))]
pub(super) fn compressed(_how: Compression, body: Vec<u8>, _headers: &mut BTreeMap<String, String>) -> Vec<u8> {
    body
}

/// The body as it was before it was compressed, at most so long.
pub(super) fn body<'a>(
    headers: &BTreeMap<String, String>,
    body: &'a [u8],
    limit: usize,
) -> Result<Cow<'a, [u8]>, WireError> {
    let Some(encoding) = headers::get(headers, CONTENT_ENCODING) else { return Ok(Cow::Borrowed(body)) };
    let encoding = encoding.trim();
    match Compression::named(&encoding.to_ascii_lowercase()) {
        Some(Compression::None) => Ok(Cow::Borrowed(body)),
        Some(how) => decompressed(how, body, limit).map(Cow::Owned),
        None => {
            let mend = "`zlib` and `zstd` are read here";
            Err(WireError::Encoding { encoding: headers::shortened(encoding), mend })
        }
    }
}

#[cfg(feature = "compression")]
fn decompressed(how: Compression, body: &[u8], limit: usize) -> Result<Vec<u8>, WireError> {
    use std::io::Read as _;

    /// 8 MiB: how far back Zstandard may look, and so what it may take of memory whatever the body says.
    const WINDOW_LOG_MAX: u32 = 23;

    let encoding = if how == Compression::Zlib { "zlib" } else { "zstd" };
    let broken = |error: std::io::Error| WireError::Compressed { encoding, reason: error.to_string() };
    let mut decoder: Box<dyn std::io::Read + '_> = if how == Compression::Zlib {
        Box::new(flate2::read::ZlibDecoder::new(body))
    } else {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(body).map_err(broken)?;
        decoder.window_log_max(WINDOW_LOG_MAX).map_err(broken)?;
        Box::new(decoder)
    };
    let mut whole = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    decoder.by_ref().take(most).read_to_end(&mut whole).map_err(broken)?;
    if whole.len() > limit {
        return Err(WireError::Bomb { size: body.len(), limit });
    }
    Ok(whole)
}

#[cfg(not(feature = "compression"))]
fn decompressed(how: Compression, _body: &[u8], _limit: usize) -> Result<Vec<u8>, WireError> {
    let encoding = if how == Compression::Zlib { "zlib" } else { "zstd" };
    Err(WireError::Encoding { encoding: encoding.to_owned(), mend: "build with the feature `compression` of `cqrs`" })
}

#[cfg(feature = "compression")]
fn zlib(body: &[u8]) -> std::io::Result<Vec<u8>> {
    use std::io::Write as _;

    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(body)?;
    encoder.finish()
}
