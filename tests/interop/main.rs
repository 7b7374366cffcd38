//! Messages exchanged with python-cqrs, on real servers, both ways; a service that moves from it; and it as a peer that is measured.

mod exchange;
mod moving;
mod peers;
mod support;
