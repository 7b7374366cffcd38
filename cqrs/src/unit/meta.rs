//! What is known about a call: ids, times, headers. Made when asked for, since most calls never ask.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use uuid::Uuid;

/// What a [`Meta`] is made of when somebody already knows.
#[derive(Debug, Clone, Default)]
pub(crate) struct MetaInit {
    pub(crate) id: Option<Uuid>,
    pub(crate) time: Option<SystemTime>,
    /// How far the app's clock is ahead of the system's.
    pub(crate) ahead: Duration,
    pub(crate) correlation_id: Option<Uuid>,
    pub(crate) causation_id: Option<Uuid>,
    /// The call that caused this one: asked for its ids only when somebody asks for them here.
    pub(crate) parent: Option<Arc<Meta>>,
    pub(crate) key: Option<String>,
    pub(crate) topic: Option<String>,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) attempt: Option<u32>,
}

/// What is known about the call a handler serves: its id, time, correlation, key, topic, headers and attempt.
///
/// Ids and times are made when first asked for: a call nobody asks about mints no id and reads no clock.
///
/// ```
/// let meta = cqrs::Meta::default();               // for calling a handler as an ordinary function
/// assert_eq!(meta.attempt(), 1);
/// assert_eq!(meta.id(), meta.correlation_id());   // nothing caused it: it correlates with itself
/// ```
#[derive(Debug, Default)]
pub struct Meta {
    id: OnceLock<Uuid>,
    time: OnceLock<SystemTime>,
    ahead: Duration,
    correlation_id: Option<Uuid>,
    causation_id: Option<Uuid>,
    parent: Option<Arc<Meta>>,
    key: Option<String>,
    topic: Option<String>,
    headers: BTreeMap<String, String>,
    attempt: u32,
}

impl Meta {
    pub(crate) fn new(init: MetaInit) -> Self {
        let meta = Self {
            id: OnceLock::new(),
            time: OnceLock::new(),
            // What a call sets off goes by its clock.
            ahead: init.parent.as_ref().map_or(init.ahead, |parent| parent.ahead.max(init.ahead)),
            correlation_id: init.correlation_id,
            causation_id: init.causation_id,
            parent: init.parent,
            key: init.key,
            topic: init.topic,
            headers: init.headers,
            attempt: init.attempt.unwrap_or(1),
        };
        if let Some(id) = init.id {
            let _ = meta.id.set(id);
        }
        if let Some(time) = init.time {
            let _ = meta.time.set(time);
        }
        meta
    }

    /// The id of this call: of the event or stored command it handles, or a fresh one (UUID version 7).
    pub fn id(&self) -> Uuid {
        *self.id.get_or_init(|| {
            made::note();
            Uuid::now_v7()
        })
    }

    /// The time of this call: of the event or stored command it handles, or of the call itself. Everybody who asks is told
    /// the same, in this process and in those that consume the event.
    ///
    /// Read off the app's clock when somebody first asks: no call reads a clock for nobody. Of what is stored that is before
    /// the commit of its unit of work at the latest.
    pub fn time(&self) -> SystemTime {
        *self.time.get_or_init(|| {
            made::note();
            in_micros(SystemTime::now() + self.ahead)
        })
    }

    /// The id shared by everything that one call set off: its events, their follow-ups, what it stored and what becomes
    /// of that, and the calls its handler makes through `&App`.
    ///
    /// A call starts one of its own where its caller is not seen: in a task that a handler spawned, or through a clone of
    /// the app in a handler that takes neither `&App` nor `&Meta`. Give it this one there: `app.send(..).correlation(id)`.
    pub fn correlation_id(&self) -> Uuid {
        match (self.correlation_id, &self.parent) {
            (Some(id), _) => id,
            (None, Some(parent)) => parent.correlation_id(),
            (None, None) => self.id(),
        }
    }

    /// The id of what caused this call directly, if anything did.
    pub fn causation_id(&self) -> Option<Uuid> {
        self.causation_id.or_else(|| self.parent.as_ref().map(|parent| parent.id()))
    }

    /// The message's key, by which order is kept.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// The topic the message was consumed from.
    pub fn topic(&self) -> Option<&str> {
        self.topic.as_deref()
    }

    /// The W3C trace parent the message carries.
    pub fn trace_parent(&self) -> Option<&str> {
        self.header("traceparent").or_else(|| self.parent.as_ref()?.trace_parent())
    }

    /// One header of this call or message.
    ///
    /// Headers go no further than the call they were given to: the handlers of its events have those of the event. What
    /// the whole call needs to know of them is a message-scoped dependency, made once from the call's own headers.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// All headers, by name.
    pub fn headers(&self) -> &BTreeMap<String, String> {
        &self.headers
    }

    /// Which attempt this is, counted from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt.max(1)
    }
}

/// As fine as stores and the wire say it: read back, it is the same.
fn in_micros(time: SystemTime) -> SystemTime {
    let nanos = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.subsec_nanos() % 1000);
    time - Duration::from_nanos(nanos.into())
}

/// Counts what is minted and read for calls on this thread: a call that nobody asks about must do neither.
pub(crate) mod made {
    #[cfg(test)]
    thread_local! {
        static MADE: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
    }

    #[cfg(test)]
    pub(crate) fn count() -> u32 {
        MADE.get()
    }

    #[inline]
    pub(crate) fn note() {
        #[cfg(test)]
        MADE.set(MADE.get() + 1);
    }
}
