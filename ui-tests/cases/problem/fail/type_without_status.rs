// A type that has a title, and no status.
use cqrs::Problem;

#[derive(Debug, Problem)]
#[problem(title = "Declined")]
struct PayError;

impl std::fmt::Display for PayError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("refused")
    }
}

fn main() {}
