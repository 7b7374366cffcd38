// Every argument, on the type and on variants of every form.
use cqrs::Problem;

#[derive(Debug, Problem)]
#[problem(status = 400, title = "Refused", type = "/problems/refused", crate = ::cqrs)]
enum PayError {
    Plain,
    #[problem(status = 599)]
    Tuple(u32),
    #[problem(title = "Declined", type = "https://example.com/problems/declined?by=bank#why")]
    Struct { by: String },
    #[problem]
    Said,
}

impl std::fmt::Display for PayError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("refused")
    }
}

fn main() {}
