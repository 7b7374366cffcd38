//! A client of server-sent events, no larger than this example needs: a browser's `EventSource` does the same and more.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// Opens a stream, prints at most so many of its events, and hangs up.
pub(crate) async fn print(address: SocketAddr, path: &str, last_event_id: &str, most: usize) -> io::Result<()> {
    let header = match last_event_id {
        "" => String::new(),
        id => format!("last-event-id: {id}\r\n"),
    };
    println!("{}", format!("GET {path} {header}").trim_end());
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{header}\r\n");
    stream.write_all(request.as_bytes()).await?;

    let mut lines = BufReader::new(stream).lines();
    let status = lines.next_line().await?.unwrap_or_default();
    println!("  {status}");
    let (mut event, mut events) = (String::new(), 0);
    while events < most
        && let Some(line) = lines.next_line().await?
    {
        // An event is its fields; everything else is how HTTP carries it.
        if ["id: ", "event: ", "data: "].iter().any(|field| line.starts_with(field)) {
            event = format!("{event}  {line}");
        } else if !event.is_empty() {
            println!("{}", std::mem::take(&mut event));
            events += 1;
        }
    }
    Ok(())
}
