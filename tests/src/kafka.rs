//! Apache Kafka: the server that all tests share, and servers in a directory and on ports of their own.

use std::fmt::Write as _;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const GIVEN: &str = "CQRS_TEST_KAFKA_URL";
/// How long a server may take to answer for the first time.
const STARTING: Duration = Duration::from_secs(60);

/// The user of a server's port for users, and the password.
pub const USER: (&str, &str) = ("cqrs", "secret");

/// The URL of the server that all tests share. Who uses it makes topics and groups with names of their own.
pub fn url() -> String {
    std::env::var(GIVEN).unwrap_or_else(|_| {
        panic!("`{GIVEN}` is not set: start the servers with `tests/services up` and take over what `tests/services env` prints")
    })
}

/// A Kafka that was started for a test, and ends with it.
#[derive(Debug)]
pub struct KafkaServer {
    process: Option<Child>,
    directory: PathBuf,
    port: u16,
}

impl KafkaServer {
    /// Starts a server and waits until it answers.
    pub fn start() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("cqrs-kafka-{}-{number}", std::process::id()));
        fs::create_dir_all(&directory).expect("a temporary directory");
        let mut server = Self { process: None, directory, port: 0 };
        // Somebody else may take a port between our letting go of it and the server's taking it.
        for _ in 0..3 {
            server.port = free_ports();
            server.format();
            if server.try_start() {
                return server;
            }
            server.stop();
        }
        panic!("Kafka does not start: {}", server.log());
    }

    /// Ends it at once, as a crash would.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Starts it again, on the same ports and with what it had written to disk.
    pub fn start_again(&mut self) {
        assert!(self.try_start(), "Kafka does not start again: {}", self.log());
    }

    /// Stops it from running, or lets it run on: `STOP` or `CONT`.
    pub fn signal(&self, signal: &str) {
        let Some(process) = &self.process else { return };
        let status = Command::new("kill").args(["-s", signal, &process.id().to_string()]).status();
        assert!(status.is_ok_and(|status| status.success()), "the server takes no signal");
    }

    /// The URL for who needs no login.
    pub fn url(&self) -> String {
        format!("kafka://127.0.0.1:{}", self.port)
    }

    /// The URL for a user with a password, by `PLAIN`.
    pub fn url_of(&self, user: &str, password: &str) -> String {
        format!("kafka://{user}:{password}@127.0.0.1:{}", self.port + 2)
    }

    fn format(&self) {
        let (port, file) = (self.port, |name: &str| self.directory.join(name));
        let _ = fs::remove_dir_all(file("data"));
        let (user, password) = USER;
        let mut settings = String::new();
        for line in [
            "process.roles=broker,controller".to_owned(),
            "node.id=1".to_owned(),
            format!(
                "listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{},SASL_PLAINTEXT://127.0.0.1:{}",
                port + 1,
                port + 2
            ),
            format!("advertised.listeners=PLAINTEXT://127.0.0.1:{port},SASL_PLAINTEXT://127.0.0.1:{}", port + 2),
            "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT"
                .into(),
            format!("controller.quorum.voters=1@127.0.0.1:{}", port + 1),
            "controller.listener.names=CONTROLLER".to_owned(),
            "inter.broker.listener.name=PLAINTEXT".to_owned(),
            "sasl.enabled.mechanisms=PLAIN".to_owned(),
            format!(
                "listener.name.sasl_plaintext.plain.sasl.jaas.config=\
                 org.apache.kafka.common.security.plain.PlainLoginModule required user_{user}=\"{password}\";"
            ),
            format!("log.dirs={}", file("data").display()),
            "offsets.topic.replication.factor=1".to_owned(),
            "offsets.topic.num.partitions=4".to_owned(),
            "transaction.state.log.replication.factor=1".to_owned(),
            "transaction.state.log.min.isr=1".to_owned(),
            "group.initial.rebalance.delay.ms=0".to_owned(),
            "auto.create.topics.enable=false".to_owned(),
        ] {
            writeln!(settings, "{line}").expect("memory");
        }
        fs::write(file("server.properties"), settings).expect("a file");
        let formatted = self
            .java()
            .args(["kafka.tools.StorageTool", "format", "-t", "AAAAAAAAAAAAAAAAAAAAAQ", "-c", "server.properties"])
            .output()
            .expect("`java` must be installed: `apt-get install default-jre-headless`");
        assert!(formatted.status.success(), "Kafka's directory cannot be made: {formatted:?}");
    }

    fn java(&self) -> Command {
        let mut command = Command::new("java");
        command.current_dir(&self.directory).args(["-Xmx400m", "-XX:+UseSerialGC", "-cp"]);
        command.arg(format!("{}/*", libraries().display())).stdin(Stdio::null());
        command
    }

    fn try_start(&mut self) -> bool {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.directory.join("log")).expect("a file");
        let mut command = self.java();
        command.args(["kafka.Kafka", "server.properties"]).process_group(0);
        command.stdout(log.try_clone().expect("a file")).stderr(log);
        self.process = Some(command.spawn().expect("`java` must be installed: `apt-get install default-jre-headless`"));
        self.answers()
    }

    /// Waits for an answer; `false` where the server ended instead.
    fn answers(&mut self) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < STARTING {
            if self.process.as_mut().is_none_or(|process| !matches!(process.try_wait(), Ok(None))) {
                return false;
            }
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        false
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }
}

impl Drop for KafkaServer {
    fn drop(&mut self) {
        self.stop();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// The directory of Kafka's jars: `CQRS_TEST_KAFKA_LIBS`, or what Maven copies below `target`, once.
fn libraries() -> PathBuf {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(given) = std::env::var_os("CQRS_TEST_KAFKA_LIBS") {
        return given.into();
    }
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/kafka");
    let libraries = target.join("private-libs");
    if !libraries.is_dir() {
        let making = target.join(format!("private-libs-{}", std::process::id()));
        fs::create_dir_all(&target).expect("a directory");
        fs::write(target.join("pom.xml"), POM).expect("a file");
        let copied = Command::new("mvn")
            .current_dir(&target)
            .args(["-q", "-B", "dependency:copy-dependencies"])
            .arg(format!("-DoutputDirectory={}", making.display()))
            .status();
        let mend = "Kafka's jars are missing: install Maven, or name their directory by `CQRS_TEST_KAFKA_LIBS`";
        assert!(copied.expect(mend).success(), "{mend}");
        // Another process may have been faster.
        let _ = fs::rename(&making, &libraries);
    }
    libraries
}

const POM: &str = r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>cqrs.tests</groupId>
  <artifactId>kafka</artifactId>
  <version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>4.1.0</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
"#;

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
