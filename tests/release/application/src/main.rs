//! The program as it would be deployed: built in release, the whole of it optimised at once.

use messages::{Archive, Ship};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), cqrs::Error> {
    let mut app = application::app();
    if std::env::args().any(|argument| argument == "--elsewhere") {
        app = app.elsewhere::<Archive>();
    }
    let app = app.await?;
    app.send(Ship { parcel: 1 }).await?;
    println!("shipped");
    Ok(())
}
