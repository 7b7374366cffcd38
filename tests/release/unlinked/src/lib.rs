//! A crate whose handler is missing where nobody names the crate, though it is among the dependencies.

use cqrs::prelude::*;
use messages::{Archive, Log};

#[command_handler]
async fn archive(_cmd: Archive, log: Inject<Log>) {
    log.note("unlinked: archived");
}
