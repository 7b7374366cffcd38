//! AMQP, by a real RabbitMQ.

mod conformance;
