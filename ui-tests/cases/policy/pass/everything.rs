// Everything that surrounds a handler's attempts.
use cqrs::prelude::*;

#[derive(Debug)]
struct Down(u8);
impl std::fmt::Display for Down {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Ok(())
    }
}

#[derive(Command, Clone)]
#[command(error = Down)]
struct Pay;

#[command_handler(fallback = by_hand, on = [Down(code) if *code > 4, Down(1 | 2)], timeout = "2s",
    retry(max = 2, first = "1ms"), breaker(failures = 5, open_for = "30s", window = "60s", name = "bank"))]
async fn pay(_cmd: Pay) -> Result<(), Down> {
    Err(Down(5))
}

#[fallback]
async fn by_hand(_cmd: &Pay, _cause: Cause<Down>) {}

fn main() {}
