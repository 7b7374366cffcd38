// A type that is no URI reference.
use cqrs::Problem;

#[derive(Debug, Problem)]
#[problem(status = 409, type = "sold out")]
struct PayError;

impl std::fmt::Display for PayError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("refused")
    }
}

fn main() {}
