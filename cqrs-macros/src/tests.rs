//! Expansions as files.
