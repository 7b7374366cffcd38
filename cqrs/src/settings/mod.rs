//! Settings: the builder's words from a file and the environment.

/// The settings are wrong.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SettingsError(String);

/// The builder's words from a file and the environment.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Settings {}

impl Settings {
    pub(crate) fn apply(self, _builder: &mut crate::Builder) {}
}
