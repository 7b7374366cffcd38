//! A broker whose topics and groups begin with a name of a test's own: the server is shared, and names stand in the code.

use std::sync::Arc;

use cqrs::Delivery;
use cqrs::broker::BrokerError;
use cqrs::broker::driver::{Consumer, Driver, Incoming, Outgoing, Receipt, Settlement, Subscription};
use cqrs::store::driver::BoxFuture;

#[derive(Debug, Clone)]
pub struct Named {
    pub broker: Arc<dyn Driver>,
    pub name: String,
    /// The most that a group is given at once, where that is less than it asks for.
    pub most: usize,
}

/// The same message on another topic.
fn on(topic: String, delivery: &Delivery) -> Delivery {
    let other = Delivery::new(topic, delivery.payload());
    let other = delivery.headers().iter().fold(other, |other, (name, value)| other.header(name, value));
    match delivery.message_key() {
        Some(key) => other.key(key),
        None => other,
    }
}

impl Driver for Named {
    fn name(&self) -> &'static str {
        self.broker.name()
    }

    fn crosses_processes(&self) -> bool {
        self.broker.crosses_processes()
    }

    fn publish(&self, mut batch: Vec<Outgoing>) -> BoxFuture<'_, Vec<Result<(), BrokerError>>> {
        for Outgoing { delivery, .. } in &mut batch {
            *delivery = on(format!("{}{}", self.name, delivery.topic()), delivery);
        }
        self.broker.publish(batch)
    }

    fn subscribe(&self, mut subscription: Subscription) -> BoxFuture<'_, Result<Box<dyn Consumer>, BrokerError>> {
        subscription.prefetch = subscription.prefetch.min(self.most);
        subscription.group.insert_str(0, &self.name);
        subscription.topics.iter_mut().for_each(|topic| topic.insert_str(0, &self.name));
        Box::pin(async move {
            let member = self.broker.subscribe(subscription).await?;
            Ok(Box::new(Member { member, name: self.name.clone() }) as Box<dyn Consumer>)
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.broker.close()
    }
}

#[derive(Debug)]
struct Member {
    member: Box<dyn Consumer>,
    name: String,
}

impl Consumer for Member {
    fn receive(&mut self, max: usize) -> BoxFuture<'_, Result<Vec<Incoming>, BrokerError>> {
        Box::pin(async move {
            let mut incoming = self.member.receive(max).await?;
            for Incoming { delivery, .. } in &mut incoming {
                let topic = delivery.topic().strip_prefix(&self.name).expect("what was subscribed to").to_owned();
                *delivery = on(topic, delivery);
            }
            Ok(incoming)
        })
    }

    fn settle(&mut self, settled: Vec<(Receipt, Settlement)>) -> BoxFuture<'_, Result<(), BrokerError>> {
        self.member.settle(settled)
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        self.member.close()
    }
}
