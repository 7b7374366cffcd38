//! A RabbitMQ: the one that all tests share, or one of one's own.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The server that tests use which do nothing to the server itself.
const GIVEN: &str = "CQRS_TEST_AMQP_URL";
/// Where Debian has the program; what is on the path there starts it as another user.
const PROGRAMS: &str = "/usr/lib/rabbitmq/bin";
/// How long a server may take to answer for the first time.
const STARTING: Duration = Duration::from_secs(90);

/// The URL of the RabbitMQ that all tests share. Who uses it leaves what belongs to others alone.
pub fn url() -> String {
    std::env::var(GIVEN).unwrap_or_else(|_| {
        panic!("`{GIVEN}` must name a RabbitMQ: `tests/services up` starts one, and `eval \"$(tests/services env)\"` names it")
    })
}

/// A RabbitMQ that was started for a test, and ends with it.
#[derive(Debug)]
pub struct RabbitServer {
    process: Option<Child>,
    directory: PathBuf,
    /// For AMQP; the two above are for Erlang, the one above those for TLS.
    port: u16,
    settings: String,
}

impl RabbitServer {
    /// Starts a server and waits until it answers.
    pub fn start() -> Self {
        Self::with_settings("")
    }

    /// Starts a server with lines of `rabbitmq.conf`.
    pub fn with_settings(settings: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("cqrs-rabbit-{}-{number}", std::process::id()));
        fs::create_dir_all(directory.join("home")).expect("a temporary directory");
        let mut server = Self { process: None, directory, port: 0, settings: settings.to_owned() };
        // Somebody else may take a port between our letting go of it and the server's taking it.
        for _ in 0..3 {
            server.port = free_ports();
            if server.try_start() {
                return server;
            }
            server.stop();
        }
        panic!("rabbitmq-server does not start: {}", server.log());
    }

    /// Ends it at once, as a crash would. What it declared within the last seconds may not work when it is started again:
    /// the members of a quorum queue are written down a little later.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let group = format!("-{}", process.id());
            let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
            let _ = process.wait();
            // Erlang's register of names is a process of its own, and stays.
            let _ = self.command("epmd").arg("-kill").stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
    }

    /// Tells it to end, and waits until it has.
    pub fn end(&mut self) {
        self.signal("TERM");
        let begun = Instant::now();
        let runs = |process: &mut Child| matches!(process.try_wait(), Ok(None));
        while begun.elapsed() < STARTING && self.process.as_mut().is_some_and(runs) {
            std::thread::sleep(Duration::from_millis(20));
        }
        self.stop();
    }

    /// Starts it again, on the same port and with what it had written to disk.
    pub fn start_again(&mut self) {
        assert!(self.try_start(), "rabbitmq-server does not start again: {}", self.log());
    }

    /// Stops it from running, or lets it run on: `STOP` or `CONT`.
    pub fn signal(&self, signal: &str) {
        let Some(process) = &self.process else { return };
        let group = format!("-{}", process.id());
        let status = Command::new("kill").args(["-s", signal, "--", &group]).status();
        assert!(status.is_ok_and(|status| status.success()), "the server takes no signal");
    }

    /// Runs `rabbitmqctl` and gives what it prints.
    pub fn control(&self, arguments: &[&str]) -> String {
        let output = self.command(&format!("{PROGRAMS}/rabbitmqctl")).arg("-q").args(arguments).output();
        let output = output.expect("`rabbitmqctl` runs");
        assert!(output.status.success(), "rabbitmqctl {arguments:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/%2f", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// A file in the server's directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let file = |name| self.directory.join(name);
        command
            .env("HOME", file("home"))
            .env("RABBITMQ_NODENAME", format!("cqrs{}@localhost", self.port))
            .env("RABBITMQ_MNESIA_BASE", file("data"))
            .env("RABBITMQ_LOG_BASE", file("logs"))
            .env("RABBITMQ_LOGS", file("log"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", file("plugins"))
            .env("RABBITMQ_CONFIG_FILE", file("rabbitmq"))
            .env("RABBITMQ_DIST_PORT", (self.port + 1).to_string())
            .env("ERL_EPMD_PORT", (self.port + 2).to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1");
        command
    }

    fn try_start(&mut self) -> bool {
        fs::write(self.file("plugins"), "[].").expect("a file");
        let settings = format!("listeners.tcp.1 = 127.0.0.1:{}\nlog.console = false\n{}\n", self.port, self.settings);
        fs::write(self.file("rabbitmq.conf"), settings).expect("a file");
        let process = self
            .command(&format!("{PROGRAMS}/rabbitmq-server"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("`rabbitmq-server` must be installed: `apt-get install rabbitmq-server`");
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
            if greets(self.port) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        false
    }

    fn log(&self) -> String {
        fs::read_to_string(self.file("log")).unwrap_or_default()
    }
}

impl Drop for RabbitServer {
    fn drop(&mut self) {
        self.stop();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// The first of three ports in a row that nobody listens on.
fn free_ports() -> u16 {
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        if port < u16::MAX - 2 && (1..=2).all(|above| TcpListener::bind(("127.0.0.1", port + above)).is_ok()) {
            return port;
        }
    }
}

/// Whether a server says how it speaks: `connection.start`, a method frame.
fn greets(port: u16) -> bool {
    let greet = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(b"AMQP\x00\x00\x09\x01")?;
        let mut answer = [0; 1];
        stream.read_exact(&mut answer)?;
        Ok(answer == [1])
    };
    greet().unwrap_or(false)
}
