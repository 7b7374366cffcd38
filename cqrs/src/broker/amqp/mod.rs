//! AMQP 0.9.1: RabbitMQ, by `lapin`.
//!
//! `topology` says what a topic is made of, `publisher` and `member` are the tasks that publish and consume, `calls`, `waiting` and
//! `hand` what they know, as pure state; `balance` shares the queues among members, `link` keeps a connection, which `socket` makes
//! and what comes by it goes through `sieve`; `message` translates, `fault` judges errors.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::address::Address;
use self::calls::{Request, Results};
use self::fault::Fault;
use self::link::Link;
use self::member::Member;
use self::publisher::Setup;
use self::topology::Topology;
use super::driver::{Consumer, Driver, Outgoing, Subscription};
use super::options::BrokerOptions;
use super::{BrokerError, BrokerErrorKind};
use crate::store::driver::BoxFuture;

mod address;
mod balance;
mod calls;
mod fault;
mod hand;
mod link;
mod member;
mod message;
mod publisher;
mod sieve;
mod socket;
#[cfg(test)]
mod tests;
mod topology;
mod waiting;

/// The property that says whether a message that nobody takes is an error.
const MANDATORY: &str = "mandatory";

/// A RabbitMQ server. Nothing is asked of it before the first message is published or the first group subscribes.
///
/// It has a connection for publishing and one for consuming: a server that is short of memory stops to read from whoever
/// publishes, and must go on to read what is done.
pub(crate) struct AmqpBroker {
    publishing: Arc<Link>,
    consuming: Arc<Link>,
    topology: Arc<Topology>,
    mandatory: bool,
    publisher: Mutex<Option<Publisher>>,
    closing: CancellationToken,
}

/// The task that publishes, from the first message on.
struct Publisher {
    requests: mpsc::UnboundedSender<Request>,
    task: Option<JoinHandle<()>>,
}

/// Judges what was said without connecting.
pub(crate) fn check(url: &str, options: &BrokerOptions) -> Result<(), BrokerError> {
    Address::parse(url, options)?;
    mandatory(options)?;
    Ok(())
}

fn mandatory(options: &BrokerOptions) -> Result<bool, BrokerError> {
    let mut mandatory = true;
    for (name, value) in &options.properties {
        mandatory = match (name.as_str(), value.as_str()) {
            (MANDATORY, "true") => true,
            (MANDATORY, "false") => false,
            _ => {
                let what = format!(
                    "the broker `amqp:` has the property `{MANDATORY}`, which is `true` or `false`, and `{name}` was set to `{value}`"
                );
                return Err(BrokerError::new(BrokerErrorKind::Configuration, what));
            }
        };
    }
    Ok(mandatory)
}

impl AmqpBroker {
    pub(crate) fn new(url: &str, options: &BrokerOptions) -> Result<Self, BrokerError> {
        let address = Arc::new(Address::parse(url, options)?);
        Ok(Self {
            publishing: Arc::new(Link::new(Arc::clone(&address), "publishes")),
            consuming: Arc::new(Link::new(address, "consumes")),
            topology: Arc::new(Topology::new(options.declare, options.partitions)),
            mandatory: mandatory(options)?,
            publisher: Mutex::default(),
            closing: CancellationToken::new(),
        })
    }

    /// Hands a batch to the task that publishes, which is started where it does not run yet.
    fn ask(&self, batch: Vec<Outgoing>) -> oneshot::Receiver<Results> {
        let (reply, answer) = oneshot::channel();
        let request = Request { batch, reply };
        if self.closing.is_cancelled() {
            request.refuse(&Fault::closed());
            return answer;
        }
        let mut publisher = self.publisher.lock().unwrap_or_else(PoisonError::into_inner);
        // Where its task has panicked, nobody would ever answer again.
        if publisher.take_if(|publisher| publisher.requests.is_closed()).is_some() {
            tracing::error!("the task that publishes to AMQP ended; it is started anew");
        }
        let publisher = publisher.get_or_insert_with(|| {
            let (requests, asked) = mpsc::unbounded_channel();
            let (link, topology) = (Arc::clone(&self.publishing), Arc::clone(&self.topology));
            let setup = Setup { link, topology, mandatory: self.mandatory };
            let task = tokio::spawn(publisher::run(setup, asked, self.closing.clone()));
            Publisher { requests, task: Some(task) }
        });
        if let Err(mpsc::error::SendError(request)) = publisher.requests.send(request) {
            request.refuse(&Fault::closed());
        }
        answer
    }
}

impl Driver for AmqpBroker {
    fn name(&self) -> &'static str {
        "amqp"
    }

    fn publish(&self, batch: Vec<Outgoing>) -> BoxFuture<'_, Vec<Result<(), BrokerError>>> {
        let count = batch.len();
        Box::pin(async move {
            match self.ask(batch).await {
                Ok(results) => results,
                Err(_) => (0..count).map(|_| Err(Fault::closed().into())).collect(),
            }
        })
    }

    fn subscribe(&self, subscription: Subscription) -> BoxFuture<'_, Result<Box<dyn Consumer>, BrokerError>> {
        Box::pin(async move {
            if self.closing.is_cancelled() {
                return Err(Fault::closed().into());
            }
            let member = Member::new(Arc::clone(&self.consuming), Arc::clone(&self.topology), subscription);
            member.declare().await?;
            let consumer = Arc::new(member).start(&TaskTracker::new(), &self.closing.child_token());
            Ok(Box::new(consumer) as Box<dyn Consumer>)
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.closing.cancel();
            let task = {
                let mut publisher = self.publisher.lock().unwrap_or_else(PoisonError::into_inner);
                publisher.as_mut().and_then(|publisher| publisher.task.take())
            };
            if let Some(task) = task {
                // It ends by itself; a panic of it has nothing to say here.
                let _ = task.await;
            }
            self.publishing.close().await;
            self.consuming.close().await;
        })
    }
}

impl fmt::Debug for AmqpBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AmqpBroker").field("closed", &self.closing.is_cancelled()).finish_non_exhaustive()
    }
}
