// A generic command with a field that threads cannot share: said where it is derived, and where an instance is used.
use cqrs::prelude::*;

#[derive(Command)]
struct Import<T>(T, std::rc::Rc<u8>);

fn handled<C: cqrs::message::Command>() {}

fn uses() {
    handled::<Import<u8>>();
}

fn main() {}
