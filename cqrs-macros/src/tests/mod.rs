//! What can be seen without a compiler: expansions as files, and errors by text and order.

mod errors;
mod expansions;
mod inputs;
