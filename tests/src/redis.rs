//! A real Redis, in a directory and on a port of its own.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The server to use instead of one of one's own, for tests that do nothing to the server itself.
const GIVEN: &str = "CQRS_TEST_REDIS_URL";
/// How long a server may take to answer for the first time.
const STARTING: Duration = Duration::from_secs(20);

/// A Redis that was started for a test, and ends with it.
#[derive(Debug)]
pub struct RedisServer {
    process: Option<Child>,
    directory: PathBuf,
    port: u16,
}

/// The URL of a Redis, and the server behind it where it is ours.
#[derive(Debug)]
pub struct Redis {
    url: String,
    _server: Option<RedisServer>,
}

impl Redis {
    /// The Redis that `CQRS_TEST_REDIS_URL` names, or one that is started. Who uses it leaves keys of others alone.
    pub fn any() -> Self {
        match std::env::var(GIVEN) {
            Ok(url) => Self { url, _server: None },
            Err(_) => {
                let server = RedisServer::start();
                Self { url: server.url(), _server: Some(server) }
            }
        }
    }

    pub fn url(&self) -> &str {
        &self.url
    }
}

impl RedisServer {
    /// Starts a server and waits until it answers.
    pub fn start() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("cqrs-redis-{}-{number}", std::process::id()));
        fs::create_dir_all(&directory).expect("a temporary directory");
        let mut server = Self { process: None, directory, port: 0 };
        // Somebody else may take a port between our letting go of it and the server's taking it.
        for _ in 0..5 {
            server.port = free_port();
            if server.try_start() {
                return server;
            }
        }
        panic!("redis-server does not start: {}", server.log());
    }

    /// Starts it again, on the same port and with nothing in it.
    pub fn restart(&mut self) {
        self.stop();
        assert!(self.try_start(), "redis-server does not start again: {}", self.log());
    }

    /// Ends it at once.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    fn try_start(&mut self) -> bool {
        let log = fs::File::create(self.directory.join("log")).expect("a log file");
        let port = self.port.to_string();
        let process = Command::new("redis-server")
            .args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .arg("--dir")
            .arg(&self.directory)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(Stdio::null())
            .spawn()
            .expect("`redis-server` must be installed: `apt-get install redis-server`");
        self.process = Some(process);
        self.answers()
    }

    /// Waits for an answer; `false` where the server ended instead.
    fn answers(&mut self) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < STARTING {
            let ended = self.process.as_mut().is_none_or(|process| !matches!(process.try_wait(), Ok(None)));
            if ended {
                return false;
            }
            if pings(self.address()) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.stop();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

fn pings(address: SocketAddr) -> bool {
    let ping = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"PING\r\n")?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer)?;
        Ok(&answer == b"+PONG")
    };
    ping().unwrap_or(false)
}
