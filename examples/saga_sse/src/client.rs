//! A client, no larger than this example needs: a browser's `fetch` and `EventSource` do the same and more.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;

/// Posts JSON, and prints the answer.
pub(crate) async fn post(address: SocketAddr, path: &str, json: &str) -> io::Result<()> {
    println!("POST {path} {json}");
    let header = format!("content-type: application/json\r\ncontent-length: {}\r\n", json.len());
    let mut lines = send(address, &format!("POST {path}"), &header, json).await?;
    // What comes last is the body.
    let mut body = String::new();
    while let Some(line) = lines.next_line().await? {
        body = line;
    }
    println!("  {body}\n");
    Ok(())
}

/// Opens a stream, prints at most so many of its events, and hangs up.
pub(crate) async fn watch(address: SocketAddr, path: &str, last_event_id: &str, most: usize) -> io::Result<()> {
    let header = match last_event_id {
        "" => String::new(),
        id => format!("last-event-id: {id}\r\n"),
    };
    println!("{}", format!("GET {path} {header}").trim_end());
    let mut lines = send(address, &format!("GET {path}"), &header, "").await?;
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
    println!();
    Ok(())
}

/// Sends a request, prints the status of the answer, and gives the lines after it.
async fn send(address: SocketAddr, target: &str, header: &str, body: &str) -> io::Result<Lines<BufReader<TcpStream>>> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("{target} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{header}\r\n{body}");
    stream.write_all(request.as_bytes()).await?;
    let mut lines = BufReader::new(stream).lines();
    println!("  {}", lines.next_line().await?.unwrap_or_default());
    Ok(lines)
}
