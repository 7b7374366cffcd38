// A status that is no error.
use cqrs::Problem;

#[derive(Debug, Problem)]
#[problem(status = 200)]
struct PayError;

impl std::fmt::Display for PayError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("refused")
    }
}

fn main() {}
