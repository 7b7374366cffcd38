//! What goes wrong with the file: every error names it and says how to mend it.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::store::{StoreError, StoreErrorKind};

/// The seconds a write waits for its turn: behind other processes (SQLite's busy timeout) and behind this one's.
pub(super) const TURN_SECONDS: u64 = 5;

/// Where the database lies, for error texts.
#[derive(Debug, Clone)]
pub(super) struct Place(PathBuf);

impl Place {
    pub(super) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Says what the database's answer means for this file.
    pub(super) fn explain(&self, error: sqlx::Error) -> StoreError {
        match self.judge(&error) {
            Some((kind, what)) => StoreError::new(kind, what).with_source(error),
            None => error.into(),
        }
    }

    fn judge(&self, error: &sqlx::Error) -> Option<(StoreErrorKind, String)> {
        let path = self.0.display();
        if matches!(error, sqlx::Error::PoolTimedOut) {
            return Some((
                StoreErrorKind::Busy,
                format!(
                    "`{path}`: this process's other units of work kept every connection busy for too long \
                     ({TURN_SECONDS} s, or the timeout of your own pool): keep slow work out of transactions \
                     (`Begin<Sqlite>` begins late), and begin none while holding another"
                ),
            ));
        }
        Some(match primary_code(error)? {
            5 | 6 => (
                StoreErrorKind::Busy,
                format!(
                    "`{path}` was locked by another writer for more than {TURN_SECONDS} s: end the process or \
                     transaction that holds it, or try again"
                ),
            ),
            8 => (StoreErrorKind::ReadOnly, self.read_only()),
            10 => (
                StoreErrorKind::Unavailable,
                format!(
                    "`{path}` cannot be read or written: look at the disk, and whether the file is on a network share, \
                     where SQLite does not work reliably"
                ),
            ),
            11 => (
                StoreErrorKind::Database,
                format!("`{path}` is damaged: restore it from a backup (`sqlite3 .recover` saves what is left)"),
            ),
            13 => (StoreErrorKind::Unavailable, format!("`{path}`: the disk is full: make room")),
            14 => self.cannot_open(),
            26 => (
                StoreErrorKind::Configuration,
                format!(
                    "`{path}` is not an SQLite database: name another file in the store's URL, or move this one away"
                ),
            ),
            _ => return None,
        })
    }

    fn read_only(&self) -> String {
        let path = self.0.display();
        let directory = directory_of(&self.0).display().to_string();
        format!(
            "`{path}` is read-only: take `mode=ro` out of the store's URL, or give this process the right to write \
             the file and its directory `{directory}`, where SQLite keeps `-wal` and `-shm` files beside it"
        )
    }

    /// SQLite says no more than that it cannot open a file: look for the reason.
    fn cannot_open(&self) -> (StoreErrorKind, String) {
        let path = self.0.display();
        let directory = directory_of(&self.0);
        let shown = directory.display();
        if !directory.exists() {
            let what = format!(
                "`{path}`: the directory `{shown}` does not exist: create it (`mkdir -p {shown}`), or \
                 name another file in the store's URL"
            );
            return (StoreErrorKind::Configuration, what);
        }
        if !directory.is_dir() {
            let what = format!("`{path}`: `{shown}` is not a directory: name another file in the store's URL");
            return (StoreErrorKind::Configuration, what);
        }
        if self.0.is_dir() {
            let what = format!("`{path}` is a directory: name a file in the store's URL, such as `{path}/app.db`");
            return (StoreErrorKind::Configuration, what);
        }
        let what = format!(
            "`{path}` cannot be opened: give this process the right to read and write the file and its \
             directory `{shown}`"
        );
        (StoreErrorKind::Unavailable, what)
    }
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// SQLite's primary result code: the low byte of the extended one.
pub(super) fn primary_code(error: &sqlx::Error) -> Option<u32> {
    let code = error.as_database_error()?.code()?;
    Some(code.parse::<u32>().ok()? & 0xff)
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.0.display())
    }
}
