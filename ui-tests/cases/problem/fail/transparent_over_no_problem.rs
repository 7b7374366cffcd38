// A variant that leaves it to what it holds, which says nothing.
use cqrs::{Problem, SagaError};

#[derive(Debug, Problem)]
enum PayError {
    #[problem(transparent)]
    Number(std::num::ParseIntError),
    #[problem(transparent)]
    Saga(SagaError),
}

impl std::fmt::Display for PayError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("refused")
    }
}

fn main() {}
