// An argument that the attribute does not know, but nearly.
use cqrs::Problem;

#[derive(Debug, Problem)]
#[problem(staus = 409)]
struct PayError;

impl std::fmt::Display for PayError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("refused")
    }
}

fn main() {}
