// A chain without a link.
use cqrs::prelude::*;

#[derive(Command, Clone)]
struct Pay;

cqrs::chain!(Pay => []);

fn main() {}
