// A provider of what cannot be shared.
use cqrs::prelude::*;

use std::rc::Rc;

#[provider]
fn prices() -> Rc<u64> {
    Rc::new(1)
}

fn main() {}
