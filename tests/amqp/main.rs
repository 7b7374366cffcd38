//! AMQP, by a real RabbitMQ.

mod conformance;
mod faults;
mod order;
mod support;
mod topology;
