//! Naming where breakers are kept. No I/O happens here.

#[cfg(feature = "redis")]
use std::time::Duration;

#[cfg(feature = "redis")]
use super::redis::RedisOptions;
use crate::wiring::Problem;
#[cfg(feature = "redis")]
use crate::wiring::ProblemKind;

/// Where the state of an app's circuit breakers is kept: in the process, or in Redis for all its processes.
///
/// Inert: nothing is connected before a call asks a breaker.
///
/// ```
/// use cqrs::Breakers;
///
/// let breakers = Breakers::memory();      // what an app has that says nothing
/// assert_eq!(breakers.kind(), "memory");
/// ```
#[derive(Debug, Clone, Default)]
pub struct Breakers(pub(super) Source);

#[derive(Debug, Clone, Default)]
pub(super) enum Source {
    #[default]
    Memory,
    #[cfg(feature = "redis")]
    Redis(RedisOptions),
}

impl Breakers {
    /// Keeps them in the process: each process has breakers of its own.
    pub fn memory() -> Self {
        Self::default()
    }

    /// Where they are kept, in a word.
    pub fn kind(&self) -> &'static str {
        match self.0 {
            Source::Memory => "memory",
            #[cfg(feature = "redis")]
            Source::Redis(_) => "redis",
        }
    }

    /// What is wrong with them, known without connecting.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        match &self.0 {
            Source::Memory => Vec::new(),
            #[cfg(feature = "redis")]
            Source::Redis(options) => {
                let mend = "correct what `.breakers(Breakers::redis(..))` is given";
                let problem = |fault| Problem::new(ProblemKind::Setting, fault, mend);
                options.faults().into_iter().map(problem).collect()
            }
        }
    }
}

/// # Redis
#[cfg(feature = "redis")]
impl Breakers {
    /// Keeps them in Redis (5 or newer, or Valkey), so that all processes share them: what one of them finds broken, none
    /// calls, and one call of all processes is the trial.
    ///
    /// The URL is `redis://[user:password@]host[:port][/database]`, with `rediss:` for TLS. Nothing is connected before a
    /// call asks a breaker; a URL that is none is a wiring error.
    ///
    /// A call goes by what its process knows, which is fetched anew behind calls, once per [`refresh`](Self::refresh). It
    /// waits for Redis, for [`timeout`](Self::timeout) at most, only where nothing or nothing recent is known, and where
    /// it may be the trial. How calls end is told to Redis behind them; a success that changes nothing is not told.
    ///
    /// **Without Redis breakers are closed.** Where it is down, slow, or refuses, calls are let in without a wait, and
    /// their failures are not counted. One warning tells of it, and a word when it is back.
    ///
    /// Each breaker is one hash, `PREFIX:breaker:NAME`, with times by Redis' own clock. A breaker to which nothing happens
    /// for a day is forgotten. A hash that makes no sense is replaced; a key of another type is left alone, and its
    /// breaker is closed. The commands used are `EVALSHA`, `EVAL`, `TYPE`, `TIME`, `HMGET`, `HSET`, `PEXPIRE` and `DEL`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use cqrs::Breakers;
    ///
    /// let breakers = Breakers::redis("redis://cache.internal:6379")
    ///     .prefix("shop")                             // `cqrs` unless said otherwise
    ///     .refresh(Duration::from_millis(250))        // 200 ms
    ///     .timeout(Duration::from_millis(50));        // 100 ms
    /// assert_eq!(breakers.kind(), "redis");
    /// ```
    pub fn redis(url: impl Into<String>) -> Self {
        Self(Source::Redis(RedisOptions::new(url.into())))
    }

    /// What the keys begin with: `cqrs` unless said otherwise. Apps that share a Redis and not their breakers have
    /// different ones. At most 64 letters, digits, `_`, `.`, `:` and `-`.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        if let Source::Redis(options) = &mut self.0 {
            options.prefix(prefix.into());
        }
        self
    }

    /// How old what a process knows may be before it is fetched anew: 200 ms unless said otherwise. So long other
    /// processes may go on calling what one has found broken.
    pub fn refresh(mut self, refresh: Duration) -> Self {
        if let Source::Redis(options) = &mut self.0 {
            options.refresh(refresh);
        }
        self
    }

    /// How long a call waits for Redis where it has to: 100 ms unless said otherwise.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        if let Source::Redis(options) = &mut self.0 {
            options.timeout(timeout);
        }
        self
    }
}
