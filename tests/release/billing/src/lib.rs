//! Handlers, which nobody names, and a link, which a chain of another crate does.

mod invoices;
mod parcels;
mod settling;

pub use settling::by_credit;
