//! The servers that `tests/services` starts: those that all tests share, and sets of a test's own.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// The script, which has the last word on how each server is started and what it is called.
pub const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/services");
/// Below it, the sets of processes that have ended are removed by whoever starts servers next.
const SETS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/sets");
const CA: &str = "CQRS_TEST_TLS_CA";

/// The URL of the PostgreSQL that all tests share. Whoever uses a shared server leaves what belongs to others alone.
///
/// # Panics
/// No variable names it; so do all functions here that tell of shared servers.
pub fn postgres_url() -> String {
    url("postgres")
}

/// The URL of the shared MariaDB.
pub fn mysql_url() -> String {
    url("mysql")
}

/// The URL of the shared Redis.
pub fn redis_url() -> String {
    url("redis")
}

/// The URL of the shared RabbitMQ.
pub fn amqp_url() -> String {
    url("amqp")
}

/// The URL of the shared NATS server, which has JetStream.
pub fn nats_url() -> String {
    url("nats")
}

/// The URL of the shared Kafka.
pub fn kafka_url() -> String {
    url("kafka")
}

/// The URL of a shared server by its name: `postgres`, `mysql`, `redis`, `amqp`, `nats`, `kafka`.
pub fn url(name: &str) -> String {
    shared(&variable(name, ""))
}

/// The URL at which a shared server speaks TLS; it proves itself by a certificate of [`tls_ca`].
pub fn tls_url(name: &str) -> String {
    shared(&variable(name, "_TLS"))
}

/// The file of the authority that the shared servers' certificates come from.
pub fn tls_ca() -> PathBuf {
    shared(CA).into()
}

/// The file of an authority that none of the servers' certificates comes from.
pub fn strange_ca() -> PathBuf {
    concat!(env!("CARGO_MANIFEST_DIR"), "/servers/stranger.pem").into()
}

fn shared(variable: &str) -> String {
    std::env::var(variable)
        .unwrap_or_else(|_| panic!("`{variable}` is not set: run tests/services up && eval \"$(tests/services env)\""))
}

fn variable(name: &str, kind: &str) -> String {
    format!("CQRS_TEST_{}{kind}_URL", name.to_uppercase())
}

/// Servers of one test's own, to be broken. They end with this value, also when the test panics; those of a process that was
/// killed are removed by whoever starts servers next. All methods wait until the server is as they say.
#[derive(Debug)]
pub struct Private {
    directory: PathBuf,
    variables: HashMap<String, String>,
}

impl Private {
    /// Starts these servers, by their names.
    ///
    /// # Panics
    /// One does not start.
    pub fn start(names: &[&str]) -> Self {
        Self::with_settings(names, &[])
    }

    /// Starts these servers with more settings: a server's name, and a line in its own language.
    ///
    /// # Panics
    /// One does not start.
    pub fn with_settings(names: &[&str], settings: &[(&str, &str)]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let owner = std::process::id().to_string();
        let directory = format!("{SETS}/{owner}-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut set = Self { directory: directory.into(), variables: HashMap::new() };
        let mut arguments = vec!["--owner", &owner];
        for (name, line) in settings {
            arguments.extend(["--set", name, line]);
        }
        arguments.extend(names);
        set.call("up", &arguments);
        set.variables = set.call("env", &[]).lines().filter_map(assignment).collect();
        set
    }

    /// The URL of a server of this set.
    ///
    /// # Panics
    /// There is no such server in it.
    pub fn url(&self, name: &str) -> &str {
        self.value(&variable(name, ""))
    }

    /// The URL at which a server of this set speaks TLS; it proves itself by a certificate of [`Private::tls_ca`].
    ///
    /// # Panics
    /// There is no such server in it.
    pub fn tls_url(&self, name: &str) -> &str {
        self.value(&variable(name, "_TLS"))
    }

    /// The file of the authority of this set.
    pub fn tls_ca(&self) -> &Path {
        Path::new(self.value(CA))
    }

    /// The directory of this set; each server's is below it by its name, with its `log`.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Stops a server as its operator would.
    pub fn stop(&self, name: &str) {
        self.call("stop", &[name]);
    }

    /// Kills a server.
    pub fn kill(&self, name: &str) {
        self.call("stop", &["--kill", name]);
    }

    /// Starts a server that was stopped or killed, with its data and on its port.
    pub fn start_again(&self, name: &str) {
        self.call("start", &[name]);
    }

    /// Stops a server and starts it again.
    pub fn restart(&self, name: &str) {
        self.call("restart", &[name]);
    }

    /// Freezes all processes of a server: its connections stay open and nothing is answered.
    pub fn pause(&self, name: &str) {
        self.call("pause", &[name]);
    }

    /// Lets a frozen server go on.
    pub fn resume(&self, name: &str) {
        self.call("resume", &[name]);
    }

    fn value(&self, variable: &str) -> &str {
        self.variables
            .get(variable)
            .unwrap_or_else(|| panic!("this set has no `{variable}`: {:?}", self.variables.keys()))
    }

    fn call(&self, command: &str, arguments: &[&str]) -> String {
        let output = self.output(command, arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "tests/services {command} {arguments:?} failed:\n{said}");
        String::from_utf8(output.stdout).expect("text")
    }

    fn output(&self, command: &str, arguments: &[&str]) -> Output {
        let mut script = Command::new(SCRIPT);
        // What the surroundings name is none of this set.
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with("CQRS_TEST_") && name != "CQRS_TEST_DURABLE") {
                script.env_remove(name);
            }
        }
        script.args([command, "--in"]).arg(&self.directory).args(arguments).stdin(Stdio::null());
        script.output().expect("bash runs tests/services")
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        let output = self.output("down", &[]);
        if !output.status.success() {
            eprintln!("tests/services down failed:\n{}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

/// Reads `export NAME='value'`, in which the shell writes a quote as `'\''`.
fn assignment(line: &str) -> Option<(String, String)> {
    let (name, value) = line.strip_prefix("export ")?.split_once('=')?;
    let value = value.strip_prefix('\'')?.strip_suffix('\'')?;
    Some((name.to_owned(), value.replace(r"'\''", "'")))
}
