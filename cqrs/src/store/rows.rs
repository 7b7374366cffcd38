//! Times and limits as every store on a database has them.

use std::time::{Duration, SystemTime};

/// A time as it is stored. Below the microsecond it is cut off, for due dates and for the clock alike.
pub(super) fn micros(time: SystemTime) -> i64 {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => span(after),
        Err(before) => -span(before.duration()),
    }
}

/// A span in the unit of stored times.
pub(super) fn span(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

/// A stored time.
pub(super) fn time(micros: i64) -> SystemTime {
    let span = Duration::from_micros(micros.unsigned_abs());
    let time =
        if micros < 0 { SystemTime::UNIX_EPOCH.checked_sub(span) } else { SystemTime::UNIX_EPOCH.checked_add(span) };
    time.unwrap_or(SystemTime::UNIX_EPOCH)
}

/// A limit as a database takes it.
pub(super) fn limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
