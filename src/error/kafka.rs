//! librdkafka's errors as ours.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::{Error, Kind};

impl From<KafkaError> for Error {
    fn from(error: KafkaError) -> Error {
        // librdkafka repeats a refused value in its message, and it may be a secret.
        if let KafkaError::ClientConfig(_, _, name, _) = &error {
            let detail = format!("the Kafka client refuses the name or the value of its option {name}");
            return Error::new(Kind::KafkaSetting, detail);
        }
        // "(after 2 ms)" differs each time, and the same error is logged once.
        let text = error.to_string();
        Error::new(classify(&error), text.split(" (after ").next().unwrap_or(&text))
    }
}

fn classify(error: &KafkaError) -> Kind {
    if let KafkaError::Transaction(cause) = error {
        let kind = of_code(cause.code());
        // What a person must mend keeps its kind; else a fatal or abortable error is the recovery path's.
        let passing = matches!(kind, Kind::KafkaUnreachable | Kind::KafkaTransaction);
        return if passing && (cause.is_fatal() || cause.txn_requires_abort()) { Kind::KafkaTransaction } else { kind };
    }
    if matches!(error, KafkaError::ClientCreation(_)) {
        return Kind::KafkaSetting;
    }
    if let KafkaError::AdminOp(code) = error {
        return of_code(*code);
    }
    error.rdkafka_error_code().map_or(Kind::KafkaUnreachable, of_code)
}

fn of_code(code: RDKafkaErrorCode) -> Kind {
    use RDKafkaErrorCode as Code;
    match code {
        Code::MessageSizeTooLarge | Code::InvalidMessageSize => Kind::RecordTooLarge,
        Code::InvalidTimestamp => Kind::RecordTime,
        // Not `UnknownPartition`, which is librdkafka's own: the topic is there, its partitions are not known yet.
        Code::UnknownTopic | Code::UnknownTopicOrPartition => Kind::TopicMissing,
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed
        | Code::SaslAuthenticationFailed
        | Code::Authentication => Kind::KafkaAuthorization,
        Code::InvalidTransactionTimeout | Code::InvalidConfig | Code::PolicyViolation => Kind::KafkaSetting,
        // Not `InvalidReplicationFactor`: fewer brokers than replicas is also what a cluster says while one restarts.
        Code::Fenced
        | Code::Fatal
        | Code::State
        | Code::PurgeQueue
        | Code::PurgeInflight
        | Code::ProducerFenced
        | Code::InvalidProducerEpoch
        | Code::InvalidProducerIdMapping
        | Code::InvalidTransactionalState
        | Code::OutOfOrderSequenceNumber
        | Code::UnknownProducerId => Kind::KafkaTransaction,
        _ => Kind::KafkaUnreachable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A topic that was just created, asked for on a broker that is slow to hear of it.
    #[test]
    fn a_partition_that_is_not_known_yet_is_waited_for() {
        let kind = |code| Error::from(KafkaError::MetadataFetch(code)).kind();
        assert_eq!(kind(RDKafkaErrorCode::UnknownPartition), Kind::KafkaUnreachable);
        assert_eq!(kind(RDKafkaErrorCode::UnknownTopicOrPartition), Kind::TopicMissing);
    }
}
