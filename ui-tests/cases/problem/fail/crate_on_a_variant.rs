// The path of the crate on a variant: it belongs on the type.
use cqrs::Problem;

#[derive(Debug, Problem)]
enum PayError {
    #[problem(status = 409, crate = ::cqrs)]
    Declined,
}

impl std::fmt::Display for PayError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("refused")
    }
}

fn main() {}
