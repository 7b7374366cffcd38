//! Integration tests; each area is one binary: see the folders beside `src`.
