use bus::prelude::*;
use messages::{Log, Settle};

/// Why no credit is given.
#[derive(Debug)]
pub enum NoCredit {
    /// Nobody answers.
    Unavailable,
    /// For good.
    Refused,
}

impl std::fmt::Display for NoCredit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "no credit: {self:?}")
    }
}

impl std::error::Error for NoCredit {}

/// Gives credit for small amounts; asks twice where nobody answers.
#[chain_link(crate = ::bus, fallback = by_overdraft, on = [NoCredit::Unavailable], retry(max = 2, first = "1ms"))]
pub async fn by_credit(cmd: &Settle, log: Inject<Log>) -> Result<Link<Settle>, NoCredit> {
    log.note(format!("billing: credit for {}?", cmd.cents));
    match cmd.cents {
        0 => Err(NoCredit::Refused),
        1..10 => Ok(Link::Answer("by credit")),
        10..20 => Err(NoCredit::Unavailable),
        _ => Ok(Link::Pass(cmd.clone())),
    }
}

#[fallback(crate = ::bus)]
async fn by_overdraft(_cmd: &Settle, cause: Cause<NoCredit>, log: Inject<Log>) -> Link<Settle> {
    log.note(format!("billing: overdraft, {cause}"));
    Link::Answer("by overdraft")
}
