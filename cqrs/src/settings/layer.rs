//! The layers and their merging: a file, then variables.

use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::error::{SettingsError, SettingsErrorKind};

const PREFIX: &str = "CQRS_";

/// Beginnings of variables of ours that are no settings: where the file is, switches of the macros, servers of tests.
const NO_SETTINGS: [&str; 3] = ["CONFIG", "MACROS_", "TEST_"];

/// One layer: its values, and the words that say in an error where they stand.
struct Layer {
    place: String,
    values: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.place.clone())
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

/// The merged values, with where each stands.
pub(super) struct Merged {
    figment: Figment,
    pub(super) values: Dict,
}

impl Merged {
    /// Where a value stands.
    pub(super) fn place(&self, value: &Value) -> String {
        self.figment
            .get_metadata(value.tag())
            .map_or_else(|| "the settings".to_owned(), |metadata| metadata.name.to_string())
    }
}

/// Merges a file (its name and its text) and variables, of which only ours count; variables win.
pub(super) fn merge(
    file: Option<(&str, &str)>,
    variables: impl Iterator<Item = (String, String)>,
) -> Result<Merged, SettingsError> {
    let mut figment = Figment::new();
    if let Some((name, text)) = file {
        let values = Toml::from_str(text).map_err(|error| {
            SettingsError::one(
                SettingsErrorKind::Syntax,
                format!("{name} is not valid TOML: {}", error.to_string().trim_end()),
            )
        })?;
        figment = figment.merge(Layer { place: name.to_owned(), values });
    }
    for (name, text) in variables {
        let ours = |key: &&str| !NO_SETTINGS.iter().any(|beginning| key.starts_with(beginning));
        let Some(key) = name.strip_prefix(PREFIX).filter(ours) else { continue };
        let value = nest(&key.to_lowercase(), read(&text));
        if let Some(values) = value.into_dict() {
            figment = figment.merge(Layer { place: format!("the variable {name}"), values });
        }
    }
    let values = figment.data().unwrap_or_default().remove(&Profile::Default).unwrap_or_default();
    Ok(Merged { figment, values })
}

/// A variable's value: a number or a list where it looks like one, a text otherwise.
fn read(text: &str) -> Value {
    text.parse().unwrap_or_else(|never| match never {})
}

/// The value, inside one table for each step of the key. An empty step is kept, so that it is found to be unknown.
fn nest(key: &str, value: Value) -> Value {
    key.rsplit("__").fold(value, |value, step| Value::from(Dict::from([(step.to_owned(), value)])))
}
