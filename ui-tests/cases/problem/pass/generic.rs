// A generic error, `Display` where its parameter is.
use cqrs::Problem;

#[derive(Debug, Problem)]
#[problem(status = 409)]
struct PayError<T: Clone, const N: usize>([T; N])
where
    T: std::fmt::Debug;

impl<T: Clone + std::fmt::Debug, const N: usize> std::fmt::Display for PayError<T, N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "refused: {:?}", self.0)
    }
}

fn main() {}
