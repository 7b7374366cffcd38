//! Values that are more than well-formed: in range, one of a few words, a duration.

use std::time::Duration;

use proc_macro2::Ident;
use syn::LitStr;

use super::args::Args;
use crate::diag::{Sink, catalogue};
use crate::model::Rate;

/// Each of so many is remembered for its time.
const HIGHEST: u32 = 100_000;

const LONGEST: Duration = Duration::from_hours(36_500 * 24);

impl Args<'_> {
    /// A whole number of at least `least`.
    pub(super) fn integer<T: TryFrom<i128> + Limits>(&self, word: &str, least: i128) -> Option<T> {
        let value: i128 = self.value(word)?;
        let in_range = T::try_from(value).ok().filter(|_| value >= least);
        if in_range.is_none() {
            self.sink().at(self.value_tokens(word), catalogue::out_of_range(word, least, T::MOST));
        }
        in_range
    }

    /// A whole number between two.
    pub(super) fn between(&self, word: &str, least: u16, most: u16) -> Option<u16> {
        let value: i128 = self.value(word)?;
        let in_range = u16::try_from(value).ok().filter(|value| (least..=most).contains(value));
        if in_range.is_none() {
            self.sink().at(self.value_tokens(word), catalogue::out_of_range(word, least.into(), most.into()));
        }
        in_range
    }

    /// A duration in a string.
    pub(super) fn duration(&self, word: &str) -> Option<Duration> {
        let text: LitStr = self.value(word)?;
        match parse_duration(&text.value()) {
            Some(duration) if duration <= LONGEST => Some(duration),
            Some(_) => {
                self.sink().at(&text, catalogue::duration_too_long(&text.value()));
                None
            }
            None => {
                self.sink().at(&text, catalogue::not_a_duration(&text.value()));
                None
            }
        }
    }

    /// So many in such a time, in a string.
    pub(super) fn rate(&self, word: &str) -> Option<Rate> {
        let text: LitStr = self.value(word)?;
        let rate = parse_rate(&text.value());
        if rate.is_none() {
            self.sink().at(&text, catalogue::not_a_rate(&text.value(), HIGHEST));
        }
        rate
    }

    /// A duration in a string, longer than none.
    pub(super) fn positive_duration(&self, word: &str) -> Option<Duration> {
        let duration = self.duration(word)?;
        if duration.is_zero() {
            self.sink().at(self.value_tokens(word), catalogue::zero_duration(word));
            return None;
        }
        Some(duration)
    }

    /// One of a few words, in a string.
    pub(super) fn word<T: Copy>(&self, key: &str, accepted: &[(&'static str, T)]) -> Option<T> {
        let text: LitStr = self.value(key)?;
        let found = look_up(&text.value(), accepted);
        if found.is_none() {
            self.sink().at(&text, catalogue::unknown_word(&text.value(), key, &words(accepted)));
        }
        found
    }

    /// Some of a few words, as `[a, b]`.
    pub(super) fn words<T: Copy + PartialEq>(&self, key: &str, accepted: &[(&'static str, T)]) -> Option<Vec<T>> {
        let written: Vec<Ident> = self.value(key)?;
        let mut list = Vec::new();
        for ident in written {
            match look_up(&ident.to_string(), accepted) {
                Some(value) if list.contains(&value) => {
                    self.sink().at(&ident, catalogue::repeated_word(&ident.to_string(), key));
                }
                Some(value) => list.push(value),
                None => report_word(self.sink(), &ident, key, accepted),
            }
        }
        Some(list)
    }
}

/// The largest value of a whole number, for the error's text.
pub(super) trait Limits {
    const MOST: i128;
}

impl Limits for i32 {
    const MOST: i128 = i32::MAX as i128;
}

impl Limits for u32 {
    const MOST: i128 = u32::MAX as i128;
}

fn report_word<T>(sink: &Sink, ident: &Ident, key: &str, accepted: &[(&'static str, T)]) {
    sink.at(ident, catalogue::unknown_word(&ident.to_string(), key, &words(accepted)));
}

fn words<T>(accepted: &[(&'static str, T)]) -> Vec<&'static str> {
    accepted.iter().map(|(word, _)| *word).collect()
}

fn look_up<T: Copy>(found: &str, accepted: &[(&'static str, T)]) -> Option<T> {
    accepted.iter().find(|(word, _)| *word == found).map(|(_, value)| *value)
}

/// `"250ms"`, `"10s"`, `"5m"`, `"1h"`, `"7d"`.
fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    Some(Duration::from_millis(number.saturating_mul(milliseconds)))
}

/// `"100/s"`, `"30/m"`, `"500/h"`.
fn parse_rate(text: &str) -> Option<Rate> {
    let (count, unit) = text.split_once('/')?;
    let per = match unit {
        "s" => Duration::from_secs(1),
        "m" => Duration::from_mins(1),
        "h" => Duration::from_hours(1),
        _ => return None,
    };
    let is_number = count.bytes().all(|byte| byte.is_ascii_digit());
    let count = count.parse().ok().filter(|count| is_number && (1..=HIGHEST).contains(count))?;
    Some(Rate { count, per })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Rate, parse_duration, parse_rate};

    #[test]
    fn reads_rates_and_refuses_what_is_none() {
        let rate = |count, seconds| Some(Rate { count, per: Duration::from_secs(seconds) });
        for (text, expected) in
            [("100/s", rate(100, 1)), ("1/m", rate(1, 60)), ("500/h", rate(500, 3_600)), ("100000/s", rate(100_000, 1))]
        {
            assert_eq!(parse_rate(text), expected, "{text}");
        }
        for text in ["", "100", "/s", "0/s", "-1/s", "+1/s", "1.5/s", "100/", "100/ms", "100 /s", "100/s ", "100001/s"]
        {
            assert_eq!(parse_rate(text), None, "{text}");
        }
    }

    #[test]
    fn reads_every_unit() {
        for (text, milliseconds) in
            [("250ms", 250), ("10s", 10_000), ("5m", 300_000), ("1h", 3_600_000), ("7d", 604_800_000)]
        {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
    }

    #[test]
    fn refuses_what_has_no_unit_or_no_number() {
        for text in ["", "10", "s", "10 s", "1.5s", "-1s", "10S", "10sec", "99999999999999999999s"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
