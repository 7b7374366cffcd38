//! The one form of a JSON text: the same value gives the same bytes, in whichever order its fields were written.
//!
//! A struct's fields are written in the order they are declared in, a `HashMap`'s in any. Here they are in the order of
//! their names. Texts are escaped in one way only. Numbers stay as they were written: read as floating-point numbers, two
//! different ones could become the same.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// Writes a JSON text in its one form.
pub(crate) fn canonical(json: &[u8]) -> serde_json::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(json.len());
    write(serde_json::from_slice::<&RawValue>(json)?, &mut out)?;
    Ok(out)
}

fn write(value: &RawValue, out: &mut Vec<u8>) -> serde_json::Result<()> {
    let text = value.get();
    match text.as_bytes().first() {
        Some(b'{') => {
            let fields: BTreeMap<String, &RawValue> = serde_json::from_str(text)?;
            write_all(*b"{}", fields, out, |(name, value), out| {
                serde_json::to_writer(&mut *out, &name)?;
                out.push(b':');
                write(value, out)
            })
        }
        Some(b'[') => {
            let values: Vec<&RawValue> = serde_json::from_str(text)?;
            write_all(*b"[]", values, out, write)
        }
        Some(b'"') => serde_json::to_writer(out, &serde_json::from_str::<String>(text)?),
        _ => {
            out.extend_from_slice(text.as_bytes());
            Ok(())
        }
    }
}

/// Writes values with commas between them, and brackets around them.
fn write_all<T>(
    brackets: [u8; 2],
    values: impl IntoIterator<Item = T>,
    out: &mut Vec<u8>,
    mut write: impl FnMut(T, &mut Vec<u8>) -> serde_json::Result<()>,
) -> serde_json::Result<()> {
    out.push(brackets[0]);
    for (at, value) in values.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write(value, out)?;
    }
    out.push(brackets[1]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::canonical;

    fn of(json: &str) -> String {
        String::from_utf8(canonical(json.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn fields_have_one_order_at_every_depth() {
        let one = r#"{"b":{"y":[{"q":1,"p":2}],"x":null},"a":true,"":0}"#;
        let other = r#" { "" : 0, "a":true , "b":{"x": null,"y":[ {"p":2, "q":1} ] } } "#;
        assert_eq!(of(one), r#"{"":0,"a":true,"b":{"x":null,"y":[{"p":2,"q":1}]}}"#);
        assert_eq!(of(one), of(other));
    }

    #[test]
    fn the_order_of_lists_counts() {
        assert_eq!(of("[2,1,[],{}]"), "[2,1,[],{}]");
        assert_ne!(of("[1,2]"), of("[2,1]"));
    }

    #[test]
    fn texts_are_escaped_in_one_way() {
        assert_eq!(of(r#""\u00e4\/\n""#), "\"ä/\\n\"");
        assert_eq!(of(r#"{"\u0061":1}"#), r#"{"a":1}"#);
    }

    #[test]
    fn numbers_are_told_apart_to_the_last_digit() {
        for number in ["0", "-1", "1.0", "1e3", "340282366920938463463374607431768211455", "0.1000000000000000000001"] {
            assert_eq!(of(number), number);
        }
    }

    #[test]
    fn what_is_no_json_is_an_error() {
        for text in ["", "{", "{]", "[1,]", "nul", "1 2"] {
            assert!(canonical(text.as_bytes()).is_err(), "{text}");
        }
    }
}
