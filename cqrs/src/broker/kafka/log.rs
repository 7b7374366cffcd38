//! What librdkafka has to say: a little of it to the log, and why the broker cannot be reached to who waits for it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use tokio::sync::watch;

use super::error::kind_of;
use crate::broker::{BrokerError, BrokerErrorKind};

/// A line of a kind is logged once in so long: a broker that is down is told of several times a second.
const PAUSE: Duration = Duration::from_secs(10);

/// Why the broker cannot be reached, as a client found out last.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    at: Instant,
    reason: String,
}

/// What a client found out.
#[derive(Debug, Default)]
struct Faults {
    last: Option<Fault>,
    /// The last that trying again does not mend. It is followed at once by one that the broker is down, and not told again
    /// for half a minute.
    lasting: Option<Fault>,
}

/// What a client says, and what it found out.
#[derive(Debug)]
pub(super) struct Voice {
    faults: watch::Sender<Faults>,
    said: Mutex<HashMap<String, Said>>,
}

#[derive(Debug)]
struct Said {
    at: Instant,
    suppressed: u32,
}

impl Default for Voice {
    fn default() -> Self {
        Self { faults: watch::channel(Faults::default()).0, said: Mutex::default() }
    }
}

impl Voice {
    /// Passes a line on to the log, unless one of its kind was just passed on.
    pub(super) fn log(&self, level: RDKafkaLogLevel, kind: &str, line: &str) {
        // That a property is one of producers is of no interest where both are made from the same.
        if kind == "CONFWARN" {
            tracing::debug!(target: "cqrs::kafka", kind, line);
            return;
        }
        let Some(suppressed) = self.may_say(kind) else { return };
        match level {
            RDKafkaLogLevel::Debug | RDKafkaLogLevel::Info | RDKafkaLogLevel::Notice => {
                tracing::debug!(target: "cqrs::kafka", kind, suppressed, line);
            }
            // Nothing that a client says of itself is an error of the app: who waits for it is told so.
            _ => tracing::warn!(target: "cqrs::kafka", kind, suppressed, line),
        }
    }

    /// How many lines of a kind were suppressed, where it is time for one again.
    fn may_say(&self, kind: &str) -> Option<u32> {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        match said.get_mut(kind) {
            Some(said) if now.duration_since(said.at) < PAUSE => {
                said.suppressed = said.suppressed.saturating_add(1);
                None
            }
            Some(said) => {
                said.at = now;
                Some(std::mem::take(&mut said.suppressed))
            }
            None => {
                said.insert(kind.to_owned(), Said { at: now, suppressed: 0 });
                Some(0)
            }
        }
    }

    /// Notes an error of a client as a whole.
    pub(super) fn error(&self, error: &KafkaError, reason: &str) {
        let kind = error.rdkafka_error_code().map_or(BrokerErrorKind::Unavailable, kind_of);
        let fault = Fault { at: Instant::now(), reason: reason.to_owned() };
        self.faults.send_modify(|faults| {
            if kind == BrokerErrorKind::Configuration {
                faults.lasting = Some(fault.clone());
            }
            faults.last = Some(fault);
        });
        self.log(RDKafkaLogLevel::Warning, "ERROR", reason);
    }

    /// Waits until the broker turns us away for a reason that trying again does not mend.
    pub(super) async fn turned_away(&self, since: Instant) -> BrokerError {
        let is_recent = |faults: &Faults| faults.lasting.as_ref().is_some_and(|fault| fault.at >= since);
        let mut faults = self.faults.subscribe();
        let found = faults.wait_for(|faults| is_recent(faults)).await.ok();
        let found = found.and_then(|faults| faults.lasting.as_ref().map(|fault| fault.reason.clone()));
        let reason = found.unwrap_or_default();
        BrokerError::new(BrokerErrorKind::Configuration, format!("Kafka turns us away: {reason}"))
    }

    /// What stands in the way since then: what trying again does not mend, or else what was found out last.
    pub(super) fn last(&self, since: Instant) -> Option<String> {
        let faults = self.faults.borrow();
        let found = [&faults.lasting, &faults.last].into_iter().flatten().find(|fault| fault.at >= since);
        found.map(|fault| fault.reason.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use rdkafka::error::{KafkaError, RDKafkaErrorCode};

    use super::Voice;
    use crate::broker::BrokerErrorKind;

    #[test]
    fn lines_of_a_kind_are_said_once_in_a_while() {
        let voice = Voice::default();
        assert_eq!(voice.may_say("FAIL"), Some(0));
        assert_eq!(voice.may_say("FAIL"), None);
        assert_eq!(voice.may_say("ERROR"), Some(0));
        assert_eq!(voice.said.lock().unwrap()["FAIL"].suppressed, 1);
    }

    #[tokio::test]
    async fn who_waits_learns_that_the_password_is_wrong_and_not_that_a_broker_is_down() {
        let voice = Voice::default();
        let since = Instant::now();
        voice.error(&KafkaError::Global(RDKafkaErrorCode::AllBrokersDown), "1/1 brokers are down");
        assert_eq!(voice.last(since).as_deref(), Some("1/1 brokers are down"));
        let told = voice.turned_away(since);
        tokio::pin!(told);
        assert!(futures_util::poll!(&mut told).is_pending());
        voice.error(&KafkaError::Global(RDKafkaErrorCode::Authentication), "wrong password");
        // Told in one go: who waits sees both at once.
        voice.error(&KafkaError::Global(RDKafkaErrorCode::AllBrokersDown), "1/1 brokers are down");
        let error = told.await;
        assert_eq!(error.kind(), BrokerErrorKind::Configuration);
        assert!(error.to_string().contains("wrong password"));
        assert_eq!(voice.last(since).as_deref(), Some("wrong password"));
        assert_eq!(voice.last(Instant::now()), None);
    }
}
