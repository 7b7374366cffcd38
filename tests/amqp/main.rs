//! AMQP, by a real RabbitMQ.

mod conformance;
mod support;
mod topology;
