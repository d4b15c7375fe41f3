//! What every Kafka client does with librdkafka's log lines and connection errors.

use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tracing::{debug, warn};

use crate::error::{Error, Kind};

/// Keeps the last connection error, so that a call that times out can say why.
#[derive(Clone, Default)]
pub(crate) struct Context {
    trouble: Arc<Mutex<Option<Trouble>>>,
}

/// A connection error as librdkafka reported it.
#[derive(Clone)]
struct Trouble {
    code: Option<RDKafkaErrorCode>,
    reason: String,
}

impl Context {
    /// `error` with the place `doing` and, where it is only that nobody answered, the last connection error.
    pub(crate) fn explain(&self, doing: &str, error: KafkaError) -> Error {
        let secret = matches!(error, KafkaError::ClientConfig(..));
        let text = error.to_string();
        let mapped = Error::from(error);
        if secret {
            return mapped;
        }
        if mapped.kind() == Kind::KafkaUnreachable { self.unreachable(doing, &text) } else { renamed(&mapped, doing) }
    }

    /// Nobody answered in time, or only with `said`.
    pub(crate) fn unreachable(&self, doing: &str, said: &str) -> Error {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(trouble) = trouble else {
            return Error::new(Kind::KafkaUnreachable, format!("cannot {doing}: {said}"));
        };
        let refused =
            matches!(trouble.code, Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed));
        let kind = if refused { Kind::KafkaAuthorization } else { Kind::KafkaUnreachable };
        Error::new(kind, format!("cannot {doing}: {said}; last connection error: {}", trouble.reason))
    }
}

fn renamed(error: &Error, doing: &str) -> Error {
    Error::new(error.kind(), format!("cannot {doing}: {}", error.detail()))
}

impl ClientContext for Context {
    /// An outage is reported once by the connector, with its cause; librdkafka repeats it for every client and broker,
    /// so its transport failures stay at debug, and so do the coordinator's answers that it retries (GETPID).
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        let quiet = matches!(facility, "FAIL" | "ERROR" | "CONFWARN" | "GETPID");
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning
                if !quiet =>
            {
                warn!(target: "librdkafka", facility, "{message}");
            }
            _ => debug!(target: "librdkafka", facility, "{message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        debug!(target: "librdkafka", %error, "{reason}");
        let code = error.rdkafka_error_code();
        if code == Some(RDKafkaErrorCode::AllBrokersDown) || code == Some(RDKafkaErrorCode::PartitionEOF) {
            return;
        }
        // "(after 0ms in state CONNECT, 3 identical error(s) suppressed)" differs each time, and the same error is logged once.
        let reason = reason.split(" (after ").next().unwrap_or(reason);
        let trouble = Trouble { code, reason: reason.to_owned() };
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(trouble);
    }
}

impl ConsumerContext for Context {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_names_the_last_connection_error() {
        let context = Context::default();
        let timeout = KafkaError::MetadataFetch(RDKafkaErrorCode::OperationTimedOut);
        let error = context.explain("read topic t", timeout.clone());
        assert_eq!(error.kind(), Kind::KafkaUnreachable);
        context.error(
            KafkaError::Global(RDKafkaErrorCode::BrokerTransportFailure),
            "h:1: Connection refused (after 0ms in state CONNECT)",
        );
        context.error(KafkaError::Global(RDKafkaErrorCode::AllBrokersDown), "1/1 brokers are down");
        let error = context.explain("read topic t", timeout);
        assert!(error.detail().starts_with("cannot read topic t: "), "{error}");
        assert!(error.detail().ends_with("last connection error: h:1: Connection refused"), "{error}");
    }

    #[test]
    fn a_refused_login_is_not_an_outage() {
        let context = Context::default();
        context.error(KafkaError::Global(RDKafkaErrorCode::Authentication), "h:1: SASL authentication error");
        let error = context.explain("x", KafkaError::MetadataFetch(RDKafkaErrorCode::BrokerTransportFailure));
        assert_eq!(error.kind(), Kind::KafkaAuthorization);
    }
}
