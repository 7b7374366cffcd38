//! The `traceparent` header, W3C Trace Context: taken over where it is well-formed, else as if it were not there.

use ::axum::http::HeaderMap;

pub(super) const HEADER: &str = "traceparent";

/// The longest that is taken over: later versions may be longer than the first.
const LONGEST: usize = 255;

/// The trace parent of a request. One that is given twice is none, since nothing says which holds.
pub(super) fn parent(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(HEADER).iter();
    let value = values.next()?.to_str().ok()?;
    (values.next().is_none() && is_well_formed(value)).then_some(value)
}

/// `version-trace-parent-flags`, in lower-case hexadecimal, neither id all zeros.
fn is_well_formed(value: &str) -> bool {
    let mut fields = value.splitn(5, '-');
    let mut field = |digits: usize| {
        let hexadecimal = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        fields.next().filter(|field| field.len() == digits && field.bytes().all(hexadecimal))
    };
    let (Some(version), Some(trace), Some(parent), Some(_flags)) = (field(2), field(32), field(16), field(2)) else {
        return false;
    };
    let is_zero = |id: &str| id.bytes().all(|byte| byte == b'0');
    let ends = match version {
        "ff" => false,
        "00" => fields.next().is_none(),
        _ => value.len() <= LONGEST,
    };
    ends && !is_zero(trace) && !is_zero(parent)
}

#[cfg(test)]
mod tests {
    use super::is_well_formed;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn takes_what_the_standard_allows() {
        for fine in [
            format!("00-{TRACE}-00f067aa0ba902b7-01"),
            format!("00-{TRACE}-00f067aa0ba902b7-ff"),
            format!("01-{TRACE}-00f067aa0ba902b7-01"),
            format!("01-{TRACE}-00f067aa0ba902b7-01-what-comes-later"),
        ] {
            assert!(is_well_formed(&fine), "{fine}");
        }
    }

    #[test]
    fn refuses_the_rest() {
        for wrong in [
            String::new(),
            "00".to_owned(),
            format!("00-{TRACE}-00f067aa0ba902b7"),
            format!("00-{TRACE}-00f067aa0ba902b7-01-more"),
            format!("ff-{TRACE}-00f067aa0ba902b7-01"),
            format!("00-{}-00f067aa0ba902b7-01", TRACE.to_uppercase()),
            format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            format!("00-{TRACE}-{}-01", "0".repeat(16)),
            format!("00-{TRACE}-00f067aa0ba902b7-0g"),
            format!("01-{TRACE}-00f067aa0ba902b7-01-{}", "x".repeat(300)),
        ] {
            assert!(!is_well_formed(&wrong), "{wrong}");
        }
    }
}
