use bus::prelude::*;
use messages::{Invoice, Log};

/// Made by a provider of this crate, and asked for only here.
#[derive(Debug)]
struct Rate(u64);

#[provider(crate = ::bus)]
fn rate() -> Rate {
    Rate(2)
}

#[command_handler(crate = ::bus)]
async fn invoice(cmd: Invoice, rate: Inject<Rate>, log: Inject<Log>) -> Result<u64, std::num::TryFromIntError> {
    let cents = u64::try_from(cmd.cents)?;
    log.note(format!("billing: invoice of {cents}"));
    Ok(cents * rate.0)
}
