//! AMQP, by a real RabbitMQ.

mod app;
mod conformance;
mod faults;
mod order;
mod support;
mod topology;
