//! librdkafka's errors as ours.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::{Error, Kind};

impl From<KafkaError> for Error {
    fn from(error: KafkaError) -> Error {
        let kind = classify(&error);
        Error::new(kind, error.to_string())
    }
}

fn classify(error: &KafkaError) -> Kind {
    if let KafkaError::Transaction(cause) = error {
        return if cause.is_fatal() || cause.txn_requires_abort() {
            Kind::KafkaTransaction
        } else {
            of_code(cause.code())
        };
    }
    if matches!(error, KafkaError::ClientConfig(..)) {
        return Kind::KafkaSetting;
    }
    error.rdkafka_error_code().map_or(Kind::KafkaUnreachable, of_code)
}

fn of_code(code: RDKafkaErrorCode) -> Kind {
    use RDKafkaErrorCode as Code;
    match code {
        Code::MessageSizeTooLarge | Code::InvalidMessageSize => Kind::RecordTooLarge,
        Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition => Kind::TopicMissing,
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed
        | Code::SaslAuthenticationFailed
        | Code::Authentication => Kind::KafkaAuthorization,
        Code::InvalidTransactionTimeout
        | Code::InvalidConfig
        | Code::PolicyViolation
        | Code::InvalidReplicationFactor => Kind::KafkaSetting,
        Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch | Code::InvalidTransactionalState => {
            Kind::KafkaTransaction
        }
        _ => Kind::KafkaUnreachable,
    }
}
