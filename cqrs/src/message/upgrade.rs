//! Reading a message of an earlier version: decoded as what it was, and made what it has become, step by step.

use super::codec::{CodecError, ConvertFn, DecodeFn, Erased};
use super::{Message, MessageSpec};

/// How values of an earlier version of a message become values of a later one.
#[derive(Debug, Clone, Copy)]
pub struct Upgrade {
    /// The earlier version.
    pub from: &'static MessageSpec,
    pub(crate) convert: ConvertFn,
}

/// A message that values of its earlier version `Old` become.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be made of `{Old}`",
    label = "the version that `{Self}` upgrades",
    note = "write `impl From<{Old}> for {Self}`"
)]
pub trait Upgrades<Old>: From<Old> {}

#[diagnostic::do_not_recommend]
impl<New: From<Old>, Old> Upgrades<Old> for New {}

impl Upgrade {
    /// How values of `Old` become values of `New`, which has the given name and version.
    ///
    /// # Panics
    /// Where `Old` is no earlier version of the message, or cannot be read: at compile time, since it is asked in a constant.
    #[doc(hidden)]
    #[must_use]
    #[track_caller]
    pub const fn of<Old: Message, New: Message + Upgrades<Old>>(name: &str, version: u32) -> Self {
        let from = Old::SPEC;
        assert!(
            same(from.name, name),
            "the type that is upgraded has another name: give both types the same `name = ..`"
        );
        assert!(from.version < version, "the type that is upgraded is no earlier version: raise this type's `version`");
        assert!(from.codec.is_read(), "the type that is upgraded cannot be read: derive `Deserialize` for it");
        Self { from, convert: ConvertFn(convert::<Old, New>) }
    }
}

/// Whether two texts are the same, in a constant.
const fn same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    if one.len() != other.len() {
        return false;
    }
    let mut at = 0;
    while at < one.len() {
        if one[at] != other[at] {
            return false;
        }
        at += 1;
    }
    true
}

fn convert<Old: Message, New: Message + From<Old>>(old: Erased) -> Option<Erased> {
    let old = std::sync::Arc::into_inner(old.downcast::<Old>().ok()?)?;
    Some(std::sync::Arc::new(New::from(old)))
}

impl MessageSpec {
    /// Whether values of a version can be read: of this type's own, or of one it upgrades.
    pub fn reads(&self, version: u32) -> bool {
        self.version == version || self.upgrades.is_some_and(|upgrade| upgrade.from.reads(version))
    }

    /// Reads a value of a version, by what the type of that version makes of the bytes.
    pub(crate) fn read(
        &self,
        version: u32,
        decoder: &dyn Fn(&Self) -> Result<DecodeFn, CodecError>,
        bytes: &[u8],
    ) -> Result<Erased, CodecError> {
        if self.version == version {
            return (decoder(self)?.0)(bytes);
        }
        let upgrade = self.upgrades.ok_or(CodecError::Version { message: self.name, version })?;
        let earlier = upgrade.from.read(version, decoder, bytes)?;
        (upgrade.convert.0)(earlier).ok_or(CodecError::WrongType { message: upgrade.from.type_name() })
    }
}
