//! Reading one value, or saying what was expected instead.

use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use figment::value::Value;

use crate::app::SHORTEST;
use crate::broker::Declare;
use crate::message::WireFormat;
use crate::registry::{OnDead, OnUnknown};
use crate::saga::Rate;
use crate::wire::Compression;

/// What a value should have been.
pub(super) type Expected = &'static str;

/// The parts that `run` may name; those of groups beside them.
const PARTS: [&str; 4] = ["relay", "work", "timers", "sagas"];
const OF_GROUPS: [&str; 2] = ["group:", "retries:"];

pub(super) fn url(value: &Value) -> Result<String, Expected> {
    const EXPECTED: Expected = "a URL such as \"sqlite://shop.db\" or \"memory:\"";
    value.as_str().filter(|text| text.contains(':')).map(str::to_owned).ok_or(EXPECTED)
}

/// What it may be made of, the store knows.
pub(super) fn word(value: &Value) -> Result<String, Expected> {
    value.as_str().map(str::to_owned).ok_or("a name")
}

pub(super) fn declare(value: &Value) -> Result<Declare, Expected> {
    match value.as_str() {
        Some("create") => Ok(Declare::Create),
        Some("check") => Ok(Declare::Check),
        Some("leave") => Ok(Declare::Leave),
        _ => Err("\"create\", \"check\" or \"leave\""),
    }
}

pub(super) fn partitions(value: &Value) -> Result<NonZeroU16, Expected> {
    let count = number(value).and_then(|count| u16::try_from(count).ok());
    count.and_then(NonZeroU16::new).ok_or("a whole number from 1 to 65535")
}

pub(super) fn path(value: &Value) -> Result<PathBuf, Expected> {
    value.as_str().filter(|path| !path.is_empty()).map(PathBuf::from).ok_or("the path of a file")
}

pub(super) fn count(value: &Value) -> Result<usize, Expected> {
    number(value).filter(|count| *count > 0).ok_or("a whole number, at least 1")
}

pub(super) fn small_count(value: &Value) -> Result<u32, Expected> {
    const EXPECTED: Expected = "a whole number, at least 1";
    count(value).and_then(|count| u32::try_from(count).map_err(|_| EXPECTED))
}

/// A file's numbers are signed, a variable's are not.
fn number(value: &Value) -> Option<usize> {
    let unsigned = value.to_u128().and_then(|number| usize::try_from(number).ok());
    unsigned.or_else(|| usize::try_from(value.to_i128()?).ok())
}

pub(super) fn rate(value: &Value) -> Result<Rate, Expected> {
    const EXPECTED: Expected = "a rate such as \"100/s\", \"30/m\" or \"500/h\", of at most 100000";
    value.as_str().and_then(Rate::parse).ok_or(EXPECTED)
}

pub(super) fn duration(value: &Value) -> Result<Duration, Expected> {
    const EXPECTED: Expected = "a duration such as \"250ms\", \"5s\" or \"7d\"";
    value.as_str().and_then(|text| humantime::parse_duration(text).ok()).ok_or(EXPECTED)
}

pub(super) fn some_time(value: &Value) -> Result<Duration, Expected> {
    const EXPECTED: Expected = "a duration longer than nothing, such as \"250ms\", \"5s\" or \"7d\"";
    duration(value).ok().filter(|duration| !duration.is_zero()).ok_or(EXPECTED)
}

pub(super) fn long_enough(value: &Value) -> Result<Duration, Expected> {
    const EXPECTED: Expected = "a duration of at least \"100ms\", such as \"5s\"";
    duration(value).ok().filter(|duration| *duration >= SHORTEST).ok_or(EXPECTED)
}

pub(super) fn bytes(value: &Value) -> Result<usize, Expected> {
    const EXPECTED: Expected = "a number of bytes, or a text such as \"512KiB\" or \"1MiB\"";
    number(value).or_else(|| sized(value.as_str()?)).filter(|bytes| *bytes > 0).ok_or(EXPECTED)
}

fn sized(text: &str) -> Option<usize> {
    let (digits, unit) = text.split_at(text.find(|letter: char| !letter.is_ascii_digit())?);
    let factor = match unit.trim() {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    digits.parse::<usize>().ok()?.checked_mul(factor)
}

pub(super) fn factor(value: &Value) -> Result<f64, Expected> {
    let factor = value.to_f64().or_else(|| number(value).and_then(|whole| u32::try_from(whole).ok()).map(f64::from));
    factor.filter(|factor| factor.is_finite() && *factor >= 1.0).ok_or("a number, at least 1.0")
}

/// A list of parts; a variable may give them with commas.
pub(super) fn parts(value: &Value) -> Result<Vec<String>, Expected> {
    const EXPECTED: Expected = "a list of \"relay\", \"work\", \"timers\", \"group:NAME\" and \"retries:NAME\"";
    let parts: Option<Vec<String>> = match value {
        Value::Array(_, values) => values.iter().map(|value| value.as_str().map(str::to_owned)).collect(),
        value => value.as_str().map(|text| text.split(',').map(|part| part.trim().to_owned()).collect()),
    };
    let of_group = |part: &str| OF_GROUPS.iter().any(|of| part.strip_prefix(of).is_some_and(|group| !group.is_empty()));
    let known = |part: &String| PARTS.contains(&part.as_str()) || of_group(part);
    parts.filter(|parts| !parts.is_empty() && parts.iter().all(known)).ok_or(EXPECTED)
}

pub(super) fn switch(value: &Value) -> Result<bool, Expected> {
    match (value.as_str(), value.to_bool()) {
        (Some("on"), _) | (_, Some(true)) => Ok(true),
        (Some("off"), _) | (_, Some(false)) => Ok(false),
        _ => Err("\"on\", \"off\" or a table"),
    }
}

pub(super) fn yes_or_no(value: &Value) -> Result<bool, Expected> {
    value.to_bool().ok_or("true or false")
}

pub(super) fn codec(value: &Value) -> Result<WireFormat, Expected> {
    match value.as_str() {
        Some("json") => Ok(WireFormat::Json),
        Some("cloudevents") => Ok(WireFormat::CloudEvents),
        _ => Err("\"json\" or \"cloudevents\"; an event that is written as Protocol Buffers says so itself"),
    }
}

pub(super) fn compression(value: &Value) -> Result<Compression, Expected> {
    match value.as_str() {
        Some("none") => Ok(Compression::None),
        Some("zlib") => Ok(Compression::Zlib),
        Some("zstd") => Ok(Compression::Zstd),
        _ => Err("\"none\", \"zlib\" or \"zstd\""),
    }
}

pub(super) fn text(value: &Value) -> Result<String, Expected> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned).ok_or("a text")
}

pub(super) fn on_dead(value: &Value) -> Result<OnDead, Expected> {
    match value.as_str() {
        Some("park") => Ok(OnDead::Park),
        Some("skip") => Ok(OnDead::Skip),
        _ => Err("\"park\" or \"skip\""),
    }
}

pub(super) fn unknown(value: &Value) -> Result<OnUnknown, Expected> {
    match value.as_str() {
        Some("skip") => Ok(OnUnknown::Skip),
        Some("dead") => Ok(OnUnknown::Dead),
        _ => Err("\"skip\" or \"dead\""),
    }
}
