//! Messages exchanged with python-cqrs, on real servers, both ways; and a service that moves from it.

mod exchange;
mod moving;
mod support;
