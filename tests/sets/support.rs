//! Speaking to servers without a client, and calling the script.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use cqrs_tests::services::{Private, SCRIPT};

/// Where a URL leads.
pub fn address(url: &str) -> SocketAddr {
    let rest = url.split_once("://").expect("a URL").1;
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    rest.split(['/', '?']).next().expect("a host").parse().expect("an address and a port")
}

pub fn listens(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
}

/// What a Redis answers to commands, each a line.
pub fn redis(set: &Private, commands: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address(set.url("redis")))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(format!("{commands}\r\nQUIT\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// What a NATS server says first.
pub fn greeting(set: &Private) -> String {
    let mut stream = TcpStream::connect(address(set.url("nats"))).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    let mut greeting = [0; 2048];
    let length = stream.read(&mut greeting).expect("a greeting");
    String::from_utf8_lossy(&greeting[..length]).into_owned()
}

/// The id of a server's process, as it is written down.
pub fn pid(set: &Private, name: &str) -> String {
    fs::read_to_string(set.directory().join(name).join("pid")).expect("a pid file").trim().to_owned()
}

pub fn signal(signal: &str, pid: &str) {
    let status = Command::new("kill").args(["-s", signal, pid]).status().expect("kill");
    assert!(status.success());
}

/// A process that does nothing, and ends with this value.
pub struct Sleeper(Child);

impl Sleeper {
    pub fn start() -> Self {
        Self(Command::new("sleep").arg("600").spawn().expect("sleep"))
    }

    pub fn pid(&self) -> String {
        self.0.id().to_string()
    }

    pub fn lives(&mut self) -> bool {
        self.0.try_wait().expect("its status").is_none()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A set that is started by the script itself, and ends with this value.
pub struct Directory(PathBuf);

impl Directory {
    /// Below `target/sets`, where what is left behind is found.
    pub fn new(name: &str) -> Self {
        let sets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/sets");
        Self(sets.join(format!("{}-{name}", std::process::id())))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Calls the script for this set: whether it succeeded, and what it said.
    pub fn call(&self, command: &str, arguments: &[&str], variables: &[(&str, String)]) -> (bool, String) {
        let mut script = Command::new(SCRIPT);
        for name in ["POSTGRES", "MYSQL", "REDIS", "AMQP", "NATS", "KAFKA"] {
            script.env_remove(format!("CQRS_TEST_{name}_URL")).env_remove(format!("CQRS_TEST_{name}_TLS_URL"));
        }
        script.env_remove("CQRS_TEST_TLS_CA").envs(variables.iter().cloned()).stdin(Stdio::null());
        let output = script.args([command, "--in"]).arg(&self.0).args(arguments).output().expect("bash");
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).expect("text"))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        self.call("down", &[], &[]);
    }
}
