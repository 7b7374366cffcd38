// A command that is run later is stored until then.
use cqrs::prelude::*;

#[derive(Command)]
struct Remind;

async fn later(app: App) -> Result<(), cqrs::Error> {
    app.schedule(Remind).after(std::time::Duration::from_secs(60)).await?;
    Ok(())
}

fn main() {}
