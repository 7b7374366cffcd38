// The derive without a word on how a client is told of the error.
use cqrs::Problem;

#[derive(Debug, Problem)]
struct PayError;

impl std::fmt::Display for PayError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("refused")
    }
}

fn main() {}
