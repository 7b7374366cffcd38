// Some variants say something, the others nothing.
use cqrs::Problem;

#[derive(Debug, Problem)]
enum PayError {
    #[problem(status = 409)]
    Declined,
    Database,
}

impl std::fmt::Display for PayError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("refused")
    }
}

fn main() {}
