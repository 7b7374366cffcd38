//! Cargo, called by a test.

use std::process::Command;

/// Takes away what cargo sets for a test: a build script that looks at it (`ring`'s does) would be run anew, with all that
/// depends on it, and once more by whoever builds next.
pub(crate) fn outside(cargo: &mut Command) {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let own = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE"];
    for name in names.filter(|name| own.iter().any(|own| name.starts_with(own))) {
        cargo.env_remove(name);
    }
}
