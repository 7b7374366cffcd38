// A union holds one of several things, and does not know which.
use cqrs::Problem;

#[derive(Problem)]
#[problem(status = 409)]
union PayError {
    declined: u32,
}

impl std::fmt::Display for PayError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("refused")
    }
}

fn main() {}
