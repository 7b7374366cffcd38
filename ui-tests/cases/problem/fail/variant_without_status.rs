// A variant that has a title, and no status.
use cqrs::Problem;

#[derive(Debug, Problem)]
enum PayError {
    #[problem(title = "Declined")]
    Declined,
}

impl std::fmt::Display for PayError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("refused")
    }
}

fn main() {}
