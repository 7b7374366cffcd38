//! Which Redis, and how it is asked. No I/O happens here.

use std::fmt;
use std::time::Duration;

use redis::Client;

/// Prefixes longer than this are a mistake.
const LONGEST_PREFIX: usize = 64;

/// Which Redis, and how it is asked.
#[derive(Clone)]
pub(in crate::breaker) struct RedisOptions {
    url: String,
    pub(super) prefix: String,
    /// How old an answer may be before a new one is fetched.
    pub(super) refresh: Duration,
    /// How long a call waits for an answer.
    pub(super) timeout: Duration,
}

impl RedisOptions {
    pub(in crate::breaker) fn new(url: String) -> Self {
        Self {
            url,
            prefix: "cqrs".to_owned(),
            refresh: Duration::from_millis(200),
            timeout: Duration::from_millis(100),
        }
    }

    pub(in crate::breaker) fn prefix(&mut self, prefix: String) {
        self.prefix = prefix;
    }

    pub(in crate::breaker) fn refresh(&mut self, refresh: Duration) {
        self.refresh = refresh;
    }

    pub(in crate::breaker) fn timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// A client, which connects when it is asked to.
    pub(super) fn client(&self) -> Result<Client, redis::RedisError> {
        Client::open(self.url.as_str())
    }

    /// What is wrong with them. The URL is not repeated: it may hold a password.
    pub(in crate::breaker) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if let Err(error) = self.client() {
            let why = error.detail().unwrap_or("it is not a URL of Redis").to_owned();
            faults.push(format!(
                "the Redis URL of the circuit breakers is wrong: {why}; it is `redis://[user:password@]host[:port][/database]`, with `rediss:` for TLS"
            ));
        }
        let fits = |c: char| c.is_ascii_alphanumeric() || "_.:-".contains(c);
        if self.prefix.is_empty() || self.prefix.len() > LONGEST_PREFIX || !self.prefix.chars().all(fits) {
            faults.push(format!(
                "the circuit breakers' prefix `{}` is wrong: it is 1 to {LONGEST_PREFIX} letters, digits, `_`, `.`, `:` or `-`",
                self.prefix.escape_default()
            ));
        }
        for (word, duration) in [("refresh", self.refresh), ("timeout", self.timeout)] {
            if duration < Duration::from_millis(1) {
                faults.push(format!("the circuit breakers' `{word}` is {duration:?}; the shortest is 1ms"));
            }
        }
        faults
    }
}

/// Without the URL: it may hold a password.
impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisOptions")
            .field("prefix", &self.prefix)
            .field("refresh", &self.refresh)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
