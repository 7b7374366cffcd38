// The context outlives the function that makes it.
use cqrs::prelude::*;

#[saga(steps = [reserve])]
struct Checkout<'a>(&'a str);

fn main() {}
