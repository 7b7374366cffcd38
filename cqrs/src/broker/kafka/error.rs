//! What librdkafka's errors mean to a caller.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::broker::{BrokerError, BrokerErrorKind};

pub(super) fn configuration(what: impl Into<String>) -> BrokerError {
    BrokerError::new(BrokerErrorKind::Configuration, what)
}

pub(super) fn unavailable(what: impl Into<String>) -> BrokerError {
    BrokerError::new(BrokerErrorKind::Unavailable, what)
}

pub(super) fn closed() -> BrokerError {
    BrokerError::new(BrokerErrorKind::Closed, "the connection to Kafka is closed")
}

/// What a caller can do about it.
pub(super) fn kind_of(code: RDKafkaErrorCode) -> BrokerErrorKind {
    use RDKafkaErrorCode as Code;
    match code {
        Code::MessageSizeTooLarge
        | Code::MessageBatchTooLarge
        | Code::InvalidMessageSize
        | Code::InvalidRecord
        | Code::BadMessage
        | Code::InvalidArgument => BrokerErrorKind::Refused,
        Code::UnknownTopicOrPartition
        | Code::UnknownTopic
        | Code::UnknownPartition
        | Code::InvalidTopic
        | Code::InvalidPartitions
        | Code::InvalidReplicationFactor
        | Code::InvalidConfig
        | Code::InvalidGroupId
        | Code::InconsistentGroupProtocol
        | Code::PolicyViolation
        | Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::UnsupportedSASLMechanism
        | Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::SSL => BrokerErrorKind::Configuration,
        // `InvalidTimestamp` among them: the clock is wrong, not the message, and by a clock that is far ahead they all would be dead.
        _ => BrokerErrorKind::Unavailable,
    }
}

/// What an error means, with what was being done.
pub(super) fn explain(what: impl Into<String>, error: KafkaError) -> BrokerError {
    let kind = error.rdkafka_error_code().map_or(BrokerErrorKind::Unavailable, kind_of);
    BrokerError::new(kind, what).with_source(error)
}
