// An error without a text: a client is told by it.
use cqrs::Problem;

#[derive(Debug, Problem)]
#[problem(status = 409)]
struct PayError;

fn main() {}
