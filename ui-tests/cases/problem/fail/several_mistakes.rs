// Each mistake is reported, none hides another.
use cqrs::Problem;

#[derive(Debug, Problem)]
#[problem(status = 399, tite = "Declined")]
enum PayError {
    #[problem(status = 600, type = "<>")]
    Declined,
}

impl std::fmt::Display for PayError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("refused")
    }
}

fn main() {}
