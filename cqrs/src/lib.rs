//! Event-driven services from annotated functions.
//!
//! Data flows one way: `registry` (what the attributes left behind at link time) → `wiring` (one pass that checks it
//! all) → `app` and `dispatch` (calls) → `unit` (one call's transaction and events) → `store` and `broker`.
//!
//! # Features
//!
//! | feature | brings | by default |
//! |---|---|---|
//! | `sqlite` | the SQLite store | yes |
//! | `amqp` | RabbitMQ as the broker: `Broker::url("amqp://..")`, `amqps://` with TLS | no |
//! | `any` | `Tx<Any>`: handlers that run on whichever SQL store the app has | no |
//! | `axum` | the module `axum`: handlers for axum, problem documents, server-sent events; `#[derive(Problem)]` | no |
//! | `compression` | notification events compressed by zlib or Zstandard | no |
//! | `full` | all of these; takes what `kafka` and `kafka-tls` take | no |
//! | `kafka` | Kafka: `Broker::url("kafka://..")`; takes a C compiler and `make` | no |
//! | `kafka-tls` | Kafka over TLS, and SCRAM; takes the headers of OpenSSL (`libssl-dev`) | no |
//! | `postgres` | the PostgreSQL store | no |
//! | `nats` | the broker NATS JetStream: `Broker::url("nats://..")` | no |
//! | `mysql` | the store on MySQL (from 8.0) and MariaDB (from 10.6) | no |
//! | `protobuf` | notification events as Protocol Buffers: `#[event(codec = "protobuf")]` on a `prost::Message` | no |
//! | `redis` | circuit breakers in Redis, for many processes: `Breakers::redis` | no |
//! | `testing` | the test kit, the module `testing` | no |
//! | `tower` | `tower` layers as middleware, the module `tower` | no |

#[cfg(test)]
extern crate self as cqrs;

mod app;
mod breaker;
// The files are in `web/`; the module has the name of what it is for.
#[cfg(feature = "axum")]
#[path = "web/mod.rs"]
pub mod axum;
pub mod broker;
mod chain;
mod clock;
mod consumer;
pub mod diagram;
mod dispatch;
mod docs;
mod error;
mod event;
mod fail_points;
mod inject;
mod lane;
mod lease;
#[cfg(test)]
mod logged;
mod macros;
mod message;
mod middleware;
mod notices;
mod policy;
pub mod prelude;
mod registry;
mod relay;
mod retry;
mod saga;
mod settings;
pub mod store;
mod stream;
mod supervise;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(feature = "tower")]
pub mod tower;
mod unit;
mod wire;
mod wiring;
mod worker;

#[doc(hidden)]
pub mod __private;

pub use serde;
pub use sqlx;

pub use self::macros::{
    Command, DomainEvent, NotificationEvent, Query, chain_link, command_handler, compensation, event_handler, fallback,
    middleware, provider, query_handler, saga, saga_step,
};

#[cfg(feature = "axum")]
pub use self::axum::Problem;
#[cfg(feature = "axum")]
pub use self::macros::Problem;

pub use self::app::{App, Builder, Bulk, BulkReport, EditError, Health, Operator, Outbox, OutsideUnit};
pub use self::breaker::{BreakerPhase, BreakerState, Breakers};
pub use self::broker::{Broker, Declare, Delivery};
pub use self::chain::Link;
pub use self::dispatch::{DispatchError, DispatchErrorKind, Publish, Schedule, Sending, TimerId};
pub use self::error::{BoxError, Error};
pub use self::event::{EventError, EventErrors, Events, Scheduled};
pub use self::inject::Inject;
pub use self::message::{
    CodecError, Command, DomainEvent, Event, Handled, Message, MessageError, MessageKind, MessageSpec,
    NotificationEvent, Query, SourceLocation, Stored, StoredResponse, Streaming, WireFormat,
};
pub use self::middleware::{Call, CallKind, Next, Outcome};
pub use self::policy::Cause;
pub use self::saga::{
    Apply, Preflight, Recovery, SagaCall, SagaCount, SagaError, SagaId, SagaSteps, Sagas, StepDone, StepKey, Stranded,
};
pub use self::settings::{Settings, SettingsError, SettingsErrorKind};
pub use self::store::{Store, StoreError};
pub use self::stream::{ItemStream, Items};
pub use self::unit::{Begin, Meta, Tx, TxOf};
pub use self::wire::Compression;
pub use self::wiring::{Place, Problem as WiringProblem, ProblemKind, WiringError};
