//! Messages from a consumer of the user's own.

use super::deliver::deliver;
use crate::app::App;
use crate::broker::driver::Settlement;
use crate::broker::{BrokerError, BrokerErrorKind, Delivery};
use crate::dispatch::DispatchError;
use crate::store::{StoreError, StoreErrorKind};
use crate::{BoxError, Error};

impl App {
    /// Hands in a message from a consumer of your own, and gives it to the handlers of every group that listens to its topic:
    /// by the same decoding, inbox, retries and dead letters as if the app had consumed it.
    ///
    /// Where it answers `Ok`, every handler has handled the message, or it is stored to be tried again, or it is a dead
    /// letter: the broker may forget it. Where not, hand it in again: what was handled is not handled twice. Order by key is
    /// yours to keep: await one message of a key before the next.
    ///
    /// What is stored is tried again by the part `retries:NAME` of [`run`](crate::Builder::run), which does not consume: name it in
    /// the list of a process, in place of the group's `group:NAME`.
    ///
    /// # Errors
    /// Fails when no group of the app listens to the topic, when the store can keep the message for none of them, and when the
    /// app is stopping.
    ///
    /// Hand over everything that came with the message: by its key order is kept, and its headers say its id, name and version and
    /// what it is part of. Of Kafka's own client:
    ///
    /// ```no_run
    /// # #[cfg(feature = "kafka")]
    /// # mod own {
    /// use cqrs::Delivery;
    /// use rdkafka::consumer::{CommitMode, Consumer, StreamConsumer};
    /// use rdkafka::message::{BorrowedMessage, Headers, Message};
    ///
    /// fn delivery(message: &BorrowedMessage<'_>) -> Delivery {
    ///     let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    ///     let mut delivery = Delivery::new(message.topic(), message.payload().unwrap_or_default());
    ///     if let Some(key) = message.key() {
    ///         delivery = delivery.key(text(key));
    ///     }
    ///     for header in message.headers().into_iter().flat_map(|headers| headers.iter()) {
    ///         delivery = delivery.header(header.key, text(header.value.unwrap_or_default()));
    ///     }
    ///     delivery
    /// }
    ///
    /// async fn consume(app: &cqrs::App, consumer: StreamConsumer) -> Result<(), cqrs::BoxError> {
    ///     loop {
    ///         let message = consumer.recv().await?;
    ///         app.receive(delivery(&message)).await?;
    ///         consumer.commit_message(&message, CommitMode::Async)?;
    ///     }
    /// }
    /// # }
    /// ```
    pub async fn receive(&self, delivery: Delivery) -> Result<(), Error> {
        let groups = self.plan().groups.iter().filter(|(_, group)| group.topics.contains(delivery.topic()));
        let groups: Vec<&'static str> = groups.map(|(name, _)| *name).collect();
        if groups.is_empty() {
            let what = format!(
                "no group of this app listens to the topic `{}`: nothing would become of the message; help: give a handler \
                 `#[event_handler(group = \"..\", topic = \"{0}\")]`",
                delivery.topic()
            );
            return Err(BrokerError::new(BrokerErrorKind::Configuration, what).into());
        }
        if self.is_stopped() {
            return Err(DispatchError::<BoxError>::ShuttingDown.into());
        }
        let busy = self.tracker().token();
        let handed = self.give_up().run_until_cancelled(async {
            let mut kept = true;
            for group in groups {
                kept &= deliver(self, group, &delivery, None).await == Settlement::Done;
            }
            kept
        });
        let kept = handed.await;
        drop(busy);
        match kept {
            Some(true) => Ok(()),
            Some(false) => {
                let what = "a message could be neither handled nor stored (the log says why); hand it in again";
                Err(StoreError::new(StoreErrorKind::Unavailable, what).into())
            }
            None => Err(DispatchError::<BoxError>::ShuttingDown.into()),
        }
    }
}
