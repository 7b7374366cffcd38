//! The `Idempotency-Key` header: what it says, and whether a message takes it.

use std::fmt;
use std::marker::PhantomData;

use ::axum::http::{HeaderMap, HeaderValue, StatusCode};

use super::ProblemDetails;
use crate::message::{Handled, MessageKind, Stored, StoredResponse};
use crate::{Command, Sending};

const HEADER: &str = "idempotency-key";

/// Gives a call an idempotency key, somebody's where it says whose.
pub type KeyedFn<C> = fn(Sending<'static, C>, String, Option<String>) -> Sending<'static, C>;

/// Asks in a constant whether a message takes a key: an inherent constant where it does, the trait's where not.
pub struct KeyProbe<M>(PhantomData<M>);

impl<M> fmt::Debug for KeyProbe<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyProbe")
    }
}

/// The answer for a query, a stream, and a command that cannot be stored or whose response cannot.
pub trait KeyFallback<M: Handled> {
    /// No key.
    const KEYED: Option<KeyedFn<M>> = None;
}

impl<M: Handled> KeyFallback<M> for KeyProbe<M> {}

impl<C: Command + Stored> KeyProbe<C>
where
    C::Response: StoredResponse,
{
    /// Gives a call a key.
    pub const KEYED: Option<KeyedFn<C>> = Some(|sending, key, scope| {
        let sending = sending.idempotency_key(key);
        match scope {
            None => sending,
            Some(scope) => sending.key_scope(scope),
        }
    });
}

/// The key of a request, with how its call is given it; a query has none, whatever the header says.
///
/// # Errors
/// Fails where the header holds no key, and where the command takes none: a client that sends one relies on it.
pub(super) fn key<M: Handled>(headers: &HeaderMap) -> Result<Option<(KeyedFn<M>, String)>, ProblemDetails> {
    let mut values = headers.get_all(HEADER).iter();
    let Some(value) = values.next().filter(|_| M::SPEC.kind == MessageKind::Command) else { return Ok(None) };
    if values.next().is_some() {
        return Err(refused("it is given twice"));
    }
    let key = read(value).ok_or_else(|| refused("it is no text"))?;
    let keyed = M::KEYED.ok_or_else(|| refused("this command takes none"))?;
    Ok(Some((keyed, key)))
}

/// The key in the header's value: as it is, or as a structured field's string, in quotation marks.
fn read(value: &HeaderValue) -> Option<String> {
    let text = std::str::from_utf8(value.as_bytes()).ok()?;
    let key = text.strip_prefix('"').map_or(Some(text), |rest| rest.strip_suffix('"'))?;
    // What is escaped within quotation marks would be another key without them.
    (!key.contains(['"', '\\'])).then(|| key.to_owned())
}

/// What is told of a header that cannot be honoured.
pub(super) fn refused(why: &str) -> ProblemDetails {
    ProblemDetails::new(StatusCode::BAD_REQUEST).detail(format!("`Idempotency-Key` cannot be honoured: {why}"))
}

#[cfg(test)]
mod tests {
    use ::axum::http::HeaderValue;

    use super::read;

    #[test]
    fn a_key_may_stand_in_quotation_marks() {
        for (value, key) in
            [("9f2c", Some("9f2c")), ("\"9f2c\"", Some("9f2c")), ("\"\"", Some("")), ("a b", Some("a b"))]
        {
            assert_eq!(read(&HeaderValue::from_static(value)).as_deref(), key, "{value}");
        }
    }

    #[test]
    fn half_a_pair_and_escapes_are_no_key() {
        for value in ["\"9f2c", "9f2c\"", "\"", "\"9f\\\"2c\"", "9f\\2c"] {
            assert_eq!(read(&HeaderValue::from_static(value)), None, "{value}");
        }
        assert_eq!(read(&HeaderValue::from_bytes(b"\xff").unwrap()), None);
    }
}
