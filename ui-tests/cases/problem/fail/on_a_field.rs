// The attribute on a field, where nobody looks.
use cqrs::Problem;

#[derive(Debug, Problem)]
enum PayError {
    #[problem(status = 409)]
    Declined(#[problem(status = 410)] u32),
}

impl std::fmt::Display for PayError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("refused")
    }
}

fn main() {}
