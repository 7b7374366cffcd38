//! What the compiler says to users of the macros. Everything here is in `cases` and `tests`.
