// The codec is there where serde is; both are commands.
use cqrs::prelude::*;

use cqrs::serde;

#[derive(Command, serde::Serialize, serde::Deserialize)]
#[serde(crate = "cqrs::serde")]
struct Stored;

#[derive(Command)]
struct InProcess;

fn main() {}
