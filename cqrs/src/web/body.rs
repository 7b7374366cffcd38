//! Messages from a JSON body, with the path's parameters laid over it.

use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;

use ::axum::http::StatusCode;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error, IgnoredAny, IntoDeserializer, MapAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use serde_html_form::Deserializer as Form;
use serde_json::error::Category;
use serde_path_to_error::{Path as Field, Track};

use super::ProblemDetails;
use super::parameters::{Path, form_of};

/// Reads a message; a parameter of the path wins over the member of the body with its name.
///
/// # Errors
/// Fails with 400 where the body is not JSON, and with 422 where it does not fit the message.
pub(super) fn read<M: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<M, ProblemDetails> {
    let form = form_of(path);
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let mut track = Track::new();
    let message = if path.is_empty() {
        M::deserialize(serde_path_to_error::Deserializer::new(&mut json, &mut track))
    } else {
        let names = path.iter().map(|(name, _)| name.as_str()).collect();
        let overlaid = Overlaid { form: &form, names, json: &mut json };
        M::deserialize(serde_path_to_error::Deserializer::new(overlaid, &mut track))
    };
    let message = message.map_err(|error| told(&error, &track.path()))?;
    json.end().map_err(|error| told(&error, &Track::new().path()))?;
    Ok(message)
}

fn told(error: &serde_json::Error, field: &Field) -> ProblemDetails {
    match error.classify() {
        Category::Data => misfit(field, without_position(error)),
        Category::Io | Category::Syntax | Category::Eof => {
            ProblemDetails::new(StatusCode::BAD_REQUEST).detail(format!("the body is not valid JSON: {error}"))
        }
    }
}

/// The text alone: where a field is named, where it stands says no more, and a parameter of the path stands elsewhere.
fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&position).unwrap_or(&text).to_owned()
}

/// Input that is well-formed, and not what the message takes.
pub(super) fn misfit(field: &Field, text: String) -> ProblemDetails {
    let problem = ProblemDetails::new(StatusCode::UNPROCESSABLE_ENTITY);
    if field.iter().next().is_none() {
        return problem.detail(text);
    }
    let field = field.to_string();
    problem.detail(format!("`{field}`: {text}")).extension("field", field)
}

/// A JSON object whose members give way to the parameters of the same names.
struct Overlaid<'f, D> {
    form: &'f str,
    names: BTreeSet<&'f str>,
    json: D,
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Overlaid<'de, D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        let Self { form, names, json } = self;
        let outer = OverPath { names, json, visitor, de: PhantomData };
        Form::from_bytes(form.as_bytes()).deserialize_map(outer).map_err(D::Error::custom)?
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, D::Error> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct seq
        tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// Has the path's parameters; goes on to the body.
struct OverPath<'de, D, V> {
    names: BTreeSet<&'de str>,
    json: D,
    visitor: V,
    de: PhantomData<&'de ()>,
}

impl<'de, D: Deserializer<'de>, V: Visitor<'de>> Visitor<'de> for OverPath<'de, D, V> {
    /// The body's own error, as it is, within the path's.
    type Value = Result<V::Value, D::Error>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(f)
    }

    fn visit_map<P: MapAccess<'de>>(self, path: P) -> Result<Self::Value, P::Error> {
        let left = self.names.len();
        Ok(self.json.deserialize_map(OverBody { path, left, names: self.names, visitor: self.visitor }))
    }
}

/// Has both; hands them to the message as one.
struct OverBody<'de, P, V> {
    path: P,
    left: usize,
    names: BTreeSet<&'de str>,
    visitor: V,
}

impl<'de, P: MapAccess<'de>, V: Visitor<'de>> Visitor<'de> for OverBody<'de, P, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(f)
    }

    fn visit_map<B: MapAccess<'de>>(self, body: B) -> Result<V::Value, B::Error> {
        let Self { path, left, names, visitor } = self;
        visitor.visit_map(Merged { path, left, names, body, in_path: true })
    }
}

struct Merged<'de, P, B> {
    path: P,
    /// How many parameters of the path have not been handed on.
    left: usize,
    names: BTreeSet<&'de str>,
    body: B,
    /// Whether the next value is the path's.
    in_path: bool,
}

impl<'de, P: MapAccess<'de>, B: MapAccess<'de>> MapAccess<'de> for Merged<'de, P, B> {
    type Error = B::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, B::Error> {
        self.in_path = self.left > 0;
        if self.in_path {
            self.left -= 1;
            return self.path.next_key_seed(seed).map_err(B::Error::custom);
        }
        while let Some(key) = self.body.next_key::<String>()? {
            if !self.names.contains(key.as_str()) {
                return seed.deserialize(key.into_deserializer()).map(Some);
            }
            self.body.next_value::<IgnoredAny>()?;
        }
        Ok(None)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, B::Error> {
        if self.in_path {
            self.path.next_value_seed(seed).map_err(B::Error::custom)
        } else {
            self.body.next_value_seed(seed)
        }
    }
}
