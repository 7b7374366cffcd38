// A response and an error, the response with a comma in it.
use cqrs::prelude::*;

use std::collections::HashMap;

#[derive(Command)]
#[command(response = HashMap<String, u64>, error = std::num::ParseIntError)]
struct Count;

fn main() {}
