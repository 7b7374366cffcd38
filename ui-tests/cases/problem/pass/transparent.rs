// Variants of which a client is told what they hold.
use cqrs::{Problem, SagaError};

#[derive(Debug, Problem)]
enum OrderError {
    #[problem(status = 404)]
    Missing,
    #[problem(transparent)]
    Begun(SagaError),
    #[problem(transparent)]
    Ended { source: Box<SagaError> },
}

impl std::fmt::Display for OrderError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("refused")
    }
}

fn main() {}
