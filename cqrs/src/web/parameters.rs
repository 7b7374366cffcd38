//! Messages from the path's and the query's parameters: texts, read as what the message's fields are.

use std::fmt;

use form_urlencoded::Serializer;
use serde::de::value::Error;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::forward_to_deserialize_any;
use serde_html_form::Deserializer as Form;

use super::{ProblemDetails, body};

/// The parameters of a path, by name.
pub(super) type Path = [(String, String)];

/// Reads a message; a parameter of the path wins over one of the query with its name.
///
/// # Errors
/// Fails where the parameters do not fit the message, naming the field.
pub(super) fn read<M: DeserializeOwned>(path: &Path, query: &str) -> Result<M, ProblemDetails> {
    let form = encoded(path, query);
    serde_path_to_error::deserialize(Parameters(&form))
        .map_err(|error| body::misfit(error.path(), error.inner().to_string()))
}

/// Path and query as one form.
fn encoded(path: &Path, query: &str) -> String {
    if path.is_empty() {
        return query.to_owned();
    }
    let named = |name: &str| path.iter().any(|(other, _)| other == name);
    let query = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| !named(name));
    Serializer::new(String::new()).extend_pairs(path).extend_pairs(query).finish()
}

/// The path's parameters as a form.
pub(super) fn form_of(path: &Path) -> String {
    encoded(path, "")
}

/// A form as a message: a struct takes its fields; what is a single value, such as a newtype, takes the one parameter.
struct Parameters<'f>(&'f str);

impl<'f> Parameters<'f> {
    fn form(&self) -> Form<'f> {
        Form::from_bytes(self.0.as_bytes())
    }
}

macro_rules! the_only_value {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            struct Seed<V>(V);
            impl<'de, V: Visitor<'de>> DeserializeSeed<'de> for Seed<V> {
                type Value = V::Value;
                fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<V::Value, D::Error> {
                    value.$method(self.0)
                }
            }
            self.form().deserialize_map(OnlyValue(Seed(visitor)))
        }
    )*};
}

impl<'de> Deserializer<'de> for Parameters<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.form().deserialize_any(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    /// A message without fields takes none.
    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    the_only_value! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_u8 deserialize_u16
        deserialize_u32 deserialize_u64 deserialize_f32 deserialize_f64 deserialize_char deserialize_str
        deserialize_string deserialize_option
    }

    forward_to_deserialize_any! {
        i128 u128 bytes byte_buf unit seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// Takes the value of the only parameter there is.
struct OnlyValue<S>(S);

impl<'de, S: DeserializeSeed<'de>> Visitor<'de> for OnlyValue<S> {
    type Value = S::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one parameter")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<S::Value, A::Error> {
        let invalid = |count| serde::de::Error::invalid_length(count, &"one parameter");
        if map.next_key::<IgnoredAny>()?.is_none() {
            return Err(invalid(0));
        }
        let value = map.next_value_seed(self.0)?;
        match map.next_key::<IgnoredAny>()? {
            None => Ok(value),
            Some(_) => Err(invalid(2)),
        }
    }
}
