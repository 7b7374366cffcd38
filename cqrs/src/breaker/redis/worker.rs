//! The task that owns the connection: says what is queued, in order, many things at once; notices when Redis is lost, and
//! when it is back.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, ErrorKind, RedisError, ServerErrorKind, Value};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::link::{Job, Status};
use super::options::RedisOptions;
use super::script::{Answered, Breaking, read};
use crate::retry::{RetryPolicy, random};

/// How much is said at once.
const BATCH: usize = 128;
/// How long connecting may take: nobody waits for it.
const CONNECT: Duration = Duration::from_secs(1);
/// How often Redis is tried that does not answer.
const PROBES: RetryPolicy = RetryPolicy {
    max: u32::MAX,
    first: Duration::from_millis(250),
    factor: 2.0,
    ceiling: Duration::from_secs(5),
    at_once: false,
};
/// How often the same trouble is told of at most.
const QUIET: Duration = Duration::from_mins(1);
/// Writes, as the breaker's script does: a replica, or a server without memory, answers to reading only.
const PROBE: &str = "redis.call('HSET', KEYS[1], 'probe', '1') redis.call('PEXPIRE', KEYS[1], '1000') return 1";

/// Why Redis counts as lost.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("it does not answer within {0:?}")]
    Slow(Duration),
    #[error("{0}")]
    Redis(#[from] RedisError),
    #[error("it answers what the breakers' script does not say")]
    Strange,
}

/// The worker.
pub(super) struct Worker {
    client: Result<Client, RedisError>,
    timeout: Duration,
    probe_key: String,
    script: Breaking,
    status: Arc<Status>,
    connection: Option<MultiplexedConnection>,
    told_of_outage: Quiet,
    told_of_loss: Quiet,
}

/// When something was last told of.
#[derive(Debug, Default)]
struct Quiet(Option<Instant>);

impl Quiet {
    /// Whether to tell of it now.
    fn is_over(&mut self) -> bool {
        let over = self.0.is_none_or(|told| told.elapsed() >= QUIET);
        if over {
            self.0 = Some(Instant::now());
        }
        over
    }
}

impl Worker {
    pub(super) fn new(options: &RedisOptions, status: Arc<Status>) -> Self {
        Self {
            client: options.client(),
            timeout: options.timeout,
            probe_key: format!("{}:breaker-probe", options.prefix),
            script: Breaking::new(),
            status,
            connection: None,
            told_of_outage: Quiet::default(),
            told_of_loss: Quiet::default(),
        }
    }

    /// Works until nobody can queue anything any more.
    pub(super) async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut batch = Vec::new();
        while jobs.recv_many(&mut batch, BATCH).await > 0 {
            match self.say(std::mem::take(&mut batch)).await {
                Ok(()) => self.tell_of_loss(),
                Err(lost) => self.outage(&lost, &mut jobs).await,
            }
        }
    }

    /// Says a batch. What was not answered when this fails is dropped.
    async fn say(&mut self, mut batch: Vec<Job>) -> Result<(), Lost> {
        let reused = self.connection.is_some();
        match self.try_to_say(&mut batch).await {
            // A connection that nobody used for a while may have been closed, which is no outage.
            Err(Lost::Redis(error)) if reused && error.is_unrecoverable_error() => {
                self.connection = None;
                self.try_to_say(&mut batch).await
            }
            said => said,
        }
    }

    /// Says a batch once, and leaves in it what was not answered.
    async fn try_to_say(&mut self, batch: &mut Vec<Job>) -> Result<(), Lost> {
        let connection = self.connection().await?;
        let script = &self.script;
        // One connection answers in the order in which it is asked.
        let saying = join_all(batch.iter().map(|job| say_one(connection.clone(), script, job)));
        let answers = tokio::time::timeout(self.timeout, saying).await.map_err(|_| Lost::Slow(self.timeout))?;
        let mut result = Ok(());
        for (job, answer) in std::mem::take(batch).into_iter().zip(answers) {
            match answer {
                Ok(answered) => job.answer(answered),
                Err(lost) => {
                    batch.push(job);
                    result = Err(lost);
                }
            }
        }
        result
    }

    async fn connection(&mut self) -> Result<MultiplexedConnection, Lost> {
        if let Some(connection) = &self.connection {
            return Ok(connection.clone());
        }
        let client = self.client.as_ref().map_err(Clone::clone)?;
        install_crypto(client);
        // How long an answer may take is ours to say, for a whole batch.
        let config = AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT)).set_response_timeout(None);
        let connecting = client.get_multiplexed_async_connection_with_config(&config);
        let connection = tokio::time::timeout(CONNECT, connecting).await.map_err(|_| Lost::Slow(CONNECT))??;
        self.connection = Some(connection.clone());
        Ok(connection)
    }

    /// Redis is lost: nobody asks it until it answers again, or until nobody is left who would.
    async fn outage(&mut self, lost: &Lost, jobs: &mut mpsc::Receiver<Job>) {
        self.status.set_down(true);
        let begun = Instant::now();
        let told = self.told_of_outage.is_over();
        if told {
            tracing::warn!(
                error = %lost,
                "Redis, which keeps the circuit breakers, cannot be asked: they count as closed until it can"
            );
        } else {
            tracing::debug!(error = %lost, "Redis, which keeps the circuit breakers, cannot be asked again");
        }
        let mut attempt = 1;
        loop {
            // What is asked of a connection that was given up may be answered yet.
            self.connection = None;
            if !wait(PROBES.pause(attempt, random()), jobs).await {
                return;
            }
            attempt = attempt.saturating_add(1);
            if self.probe().await.is_ok() {
                break;
            }
        }
        self.status.set_down(false);
        let (after, unsaid) = (begun.elapsed(), self.status.take_lost());
        if told {
            tracing::info!(?after, unsaid, "Redis, which keeps the circuit breakers, answers again");
        }
    }

    /// Whether Redis answers in time, and lets us write.
    async fn probe(&mut self) -> Result<(), Lost> {
        let mut connection = self.connection().await?;
        let mut probe = redis::cmd("EVAL");
        probe.arg(PROBE).arg(1).arg(&self.probe_key);
        let answer = tokio::time::timeout(self.timeout, run(&mut connection, &probe)).await;
        answer.map_err(|_| Lost::Slow(self.timeout))??;
        Ok(())
    }

    fn tell_of_loss(&mut self) {
        let lost = self.status.take_lost();
        if lost > 0 && self.told_of_loss.is_over() {
            tracing::warn!(
                lost,
                "more calls of circuit breakers end than Redis can be told of: some failures are not counted"
            );
        }
    }
}

impl Drop for Worker {
    /// Whoever works next finds out for himself.
    fn drop(&mut self) {
        self.status.set_down(false);
    }
}

/// Waits, and drops what is queued meanwhile. `false` where nobody is left to queue anything.
async fn wait(pause: Duration, jobs: &mut mpsc::Receiver<Job>) -> bool {
    let mut pause = std::pin::pin!(tokio::time::sleep(pause));
    loop {
        tokio::select! {
            () = &mut pause => return true,
            job = jobs.recv() => if job.is_none() { return false },
        }
    }
}

async fn say_one(mut connection: MultiplexedConnection, script: &Breaking, job: &Job) -> Result<Answered, Lost> {
    let breaker = &job.breaker;
    let by_name = script.by_name(breaker.key(), breaker.policy(), job.step);
    let answer = match run(&mut connection, &by_name).await {
        Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
            let by_text = script.by_text(breaker.key(), breaker.policy(), job.step);
            run(&mut connection, &by_text).await?
        }
        answer => answer?,
    };
    read(answer).ok_or(Lost::Strange)
}

/// Runs a command; what the server refuses is an error.
async fn run(connection: &mut MultiplexedConnection, command: &Cmd) -> Result<Value, RedisError> {
    connection.send_packed_command(command).await?.extract_error()
}

/// TLS needs somebody's cryptography: ours, where the program has not chosen.
fn install_crypto(client: &Client) {
    let is_tls = matches!(client.get_connection_info().addr(), redis::ConnectionAddr::TcpTls { .. });
    if is_tls && rustls::crypto::CryptoProvider::get_default().is_none() {
        // Somebody else may be faster, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}
