//! Handlers only: nobody names anything of this crate but the crate itself.

mod invoices;
mod parcels;
