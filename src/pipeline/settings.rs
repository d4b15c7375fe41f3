//! Checked settings as the stages want them.

use crate::checkpoint::record::Delivery;
use crate::config;
use crate::connector::ResolvedSource;
use crate::encode::headers::HeaderMode;
use crate::source::SourceSettings;

/// The delivery as checkpoints name it.
pub(super) fn delivery(delivery: config::Delivery) -> Delivery {
    match delivery {
        config::Delivery::ExactlyOnce => Delivery::ExactlyOnce,
        config::Delivery::AtLeastOnce => Delivery::AtLeastOnce,
    }
}

/// The headers as the encoder names them.
pub(super) fn headers(headers: config::Headers) -> HeaderMode {
    match headers {
        config::Headers::Core => HeaderMode::Core,
        config::Headers::CloudEvents => HeaderMode::CloudEvents,
        config::Headers::None => HeaderMode::None,
    }
}

/// The source as the replication client wants it.
pub(super) fn source(source: ResolvedSource, connector: &str) -> SourceSettings {
    SourceSettings {
        hosts: source.hosts,
        target_session_attrs: source.target_session_attrs,
        port: source.port,
        database: source.database,
        user: source.user,
        password: source.password,
        security: source.security,
        slot: source.slot,
        publication: source.publication,
        connector: connector.to_owned(),
    }
}
