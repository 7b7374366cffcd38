use bus::prelude::*;
use messages::{Invoice, Log, Shipped};

// By `order` the first of the three handlers of this event, whatever the linker made of the crates.
#[event_handler(crate = ::bus, order = -1)]
async fn charge(e: &Shipped, app: &App, log: Inject<Log>) -> Result<(), bus::BoxError> {
    let charged = app.send(Invoice { cents: 7 }).await?;
    log.note(format!("billing: {charged} charged for parcel {}", e.parcel));
    Ok(())
}
