// A variant that says something, and leaves it to what it holds.
use cqrs::{Problem, SagaError};

#[derive(Debug, Problem)]
enum PayError {
    #[problem(transparent, status = 409)]
    Saga(SagaError),
}

impl std::fmt::Display for PayError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("refused")
    }
}

fn main() {}
