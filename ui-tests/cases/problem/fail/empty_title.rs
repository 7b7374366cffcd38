// A title without a word.
use cqrs::Problem;

#[derive(Debug, Problem)]
#[problem(status = 409, title = " ")]
struct PayError;

impl std::fmt::Display for PayError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("refused")
    }
}

fn main() {}
