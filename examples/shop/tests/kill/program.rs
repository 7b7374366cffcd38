//! The real program, started on a free port.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::{Load, store};

pub(crate) struct Program {
    child: Child,
    load: Arc<Load>,
}

impl Program {
    /// Starts it, and tells the clients where it listens.
    pub(crate) async fn start(directory: &Path, load: &Arc<Load>) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_shop"))
            .env("CQRS_STORE", store(directory))
            // What a killed one had begun is taken up soon.
            .env("CQRS_LEASE", "1s")
            .args(["--listen", "127.0.0.1:0", "--spool"])
            .arg(directory.join("spool"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = loop {
            let line = lines.next_line().await.unwrap().expect("the shop says where it listens");
            if let Some((_, rest)) = line.split_once("http://") {
                break rest.split('/').next().unwrap().parse().unwrap();
            }
        };
        *load.address.lock().unwrap() = Some(address);
        // Read on, so that it never writes to a closed pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { child, load: Arc::clone(load) }
    }

    /// `kill -9`.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
        *self.load.address.lock().unwrap() = None;
    }

    /// SIGTERM, and its end.
    pub(crate) async fn terminate(mut self) -> ExitStatus {
        let id = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().await.unwrap().success());
        self.child.wait().await.unwrap()
    }
}
