//! A client that does not give up: it asks again until it gets an answer.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::Load;

pub(crate) struct Client {
    pub(crate) number: usize,
    pub(crate) load: Arc<Load>,
}

impl Client {
    /// Posts until there is an answer that is not the server's trouble; gives its status.
    pub(crate) async fn post(&self, path: &str, body: &str) -> u16 {
        loop {
            let address = *self.load.address.lock().unwrap();
            if let Some(address) = address
                && let Ok(status) = post(address, path, body).await
                && status < 500
            {
                self.load.answered.fetch_add(1, Ordering::SeqCst);
                return status;
            }
            sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn post(address: SocketAddr, path: &str, body: &str) -> io::Result<u16> {
    let mut stream = TcpStream::connect(address).await?;
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + body).as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    // Half an answer is none.
    let (head, _) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.ok_or_else(|| io::ErrorKind::InvalidData.into())
}
