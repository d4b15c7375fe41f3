//! The ways in to Kafka: TLS, client certificates, SASL; and who is kept out.

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};

use crate::support::certificates::Authority;
use crate::support::kafka::{Kafka, Options};
use crate::support::proxy::Proxy;
use crate::support::sandbox::Sandbox;
use crate::support::scene::{Scene, WITHIN};
use crate::support::stack::Stack;
use crate::support::{Context, Result};

/// A broker that is to be entered properly. Its plain listener, whose anonymous clients may do all, is for the tests.
pub(super) struct Secured {
    pub(super) kafka: Kafka,
    pub(super) authority: Authority,
}

pub(super) const PLAIN_PASSWORD: &str = "pl4in-c4nary-kafka";

impl Secured {
    /// One for all.
    pub(super) fn shared() -> Result<&'static Self> {
        static SHARED: LazyLock<Result<Secured>> = LazyLock::new(Secured::start);
        SHARED.as_ref().map_err(ToString::to_string).context("start the secured broker")
    }

    fn start() -> Result<Self> {
        let sandbox = Arc::new(Sandbox::new()?);
        let authority = Authority::new(sandbox.folder("kafka_authority")?)?;
        let store = authority.issue(&format!("IP:{}", sandbox.address()))?.together()?;
        let module = "org.apache.kafka.common.security";
        let plain = format!("{module}.plain.PlainLoginModule required user_plain=\"{PLAIN_PASSWORD}\";");
        let scram = format!("{module}.scram.ScramLoginModule required;");
        let mut options = Options::default()
            .set("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer")
            .set("super.users", "User:ANONYMOUS")
            .set("ssl.keystore.type", "PEM")
            .set("ssl.keystore.location", &store.display().to_string())
            .set("ssl.truststore.type", "PEM")
            .set("ssl.truststore.location", &authority.certificate().display().to_string())
            .listen("TLS", "SSL")
            .listen("MUTUAL", "SSL")
            .set("listener.name.mutual.ssl.client.auth", "required")
            .set("connections.max.reauth.ms", "0");
        for (listener, prefix) in [("SASL", "listener.name.sasl"), ("BRIEF", "listener.name.brief")] {
            options = options
                .listen(listener, "SASL_SSL")
                .set(&format!("{prefix}.sasl.enabled.mechanisms"), "PLAIN,SCRAM-SHA-512")
                .set(&format!("{prefix}.plain.sasl.jaas.config"), &plain)
                .set(&format!("{prefix}.scram-sha-512.sasl.jaas.config"), &scram);
        }
        let options = options.set("listener.name.brief.scram-sha-512.connections.max.reauth.ms", "3000");
        Ok(Self { kafka: Kafka::start(&sandbox, &options)?, authority })
    }

    /// A scene whose daemon comes in by this listener with these options; the test itself by the plain one.
    pub(super) fn scene(&self, name: &str, listener: &str, options: &[&str]) -> Result<Scene> {
        let stack = Stack::shared()?;
        let scene = Scene::on(name, &stack.postgres, &self.kafka, stack.registry.url())?;
        scene.process(
            &format!("brokers = {:?}", self.kafka.bootstrap()),
            &format!("brokers = {:?}", self.kafka.bootstrap_by(listener)),
        )?;
        let ca = format!("\"ssl.ca.location\" = {:?}", self.authority.certificate());
        let options = [&[&*ca], options].concat().join("\n");
        scene.process("[registry]", &format!("[kafka.client]\n{options}\n\n[registry]"))?;
        scene.push()?;
        Ok(scene)
    }

    /// Gives a principal all that a scene's connector needs.
    pub(super) fn allow(&self, principal: &str, scene: &str) -> Result<()> {
        let rights = needed(principal, scene)?;
        let rights: Vec<Vec<&str>> = rights.iter().map(|right| words("allow", right)).collect();
        self.kafka.access(&rights.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }
}

/// Principal, type, pattern, name, operation.
pub(super) type Right = [String; 5];

pub(super) fn words<'a>(verb: &'a str, right: &'a Right) -> Vec<&'a str> {
    std::iter::once(verb).chain(right.iter().map(String::as_str)).collect()
}

/// What the connector of a scene needs, by the table of docs/security.md.
pub(super) fn needed(principal: &str, scene: &str) -> Result<Vec<Right>> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/security.md");
    let page = std::fs::read_to_string(page).context(page)?;
    let mut rights = Vec::new();
    for line in page.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let (kind, pattern, name) = match cells[..] {
            [_, "topic", "`<topic_prefix>walwright.checkpoint.<connector>`", ..] => {
                ("Topic", "Literal", format!("{scene}.walwright.checkpoint.{scene}"))
            }
            [_, "topic", "each topic of events", ..] => ("Topic", "Literal", format!("{scene}.orders")),
            [_, "transactional id", "`<transactional_id_prefix>.<connector>` as a prefix", ..] => {
                ("TransactionalId", "Prefixed", format!("walwright.{scene}"))
            }
            _ => continue,
        };
        let operations = cells[3].split(", ");
        rights.extend(operations.map(|operation| [principal, kind, pattern, &name, operation].map(str::to_owned)));
    }
    assert_eq!(rights.len(), 8, "docs/security.md has another table: {rights:?}");
    Ok(rights)
}

fn streams(scene: &Scene) -> Result<()> {
    let daemon = scene.start()?;
    scene.insert(1, 5)?;
    scene.read("orders", 5)?;
    scene.finish(daemon)
}

#[test]
fn over_tls() -> Result<()> {
    streams(&Secured::shared()?.scene("kafka_tls", "TLS", &["\"security.protocol\" = \"ssl\""])?)
}

#[test]
fn with_a_client_certificate() -> Result<()> {
    let secured = Secured::shared()?;
    let client = secured.authority.client("mutual")?;
    let certificate = format!("\"ssl.certificate.location\" = {:?}", client.certificate);
    let options = |key: &str| -> Vec<String> {
        ["\"security.protocol\" = \"ssl\"".to_owned(), certificate.clone(), key.to_owned()].into()
    };
    secured.allow("User:CN=mutual", "kafka_mutual")?;
    let by_reference = options(&format!("\"ssl.key.pem\" = {{ file = {:?} }}", client.key));
    let options: Vec<&str> = by_reference.iter().map(String::as_str).collect();
    streams(&secured.scene("kafka_mutual", "MUTUAL", &options)?)
}

fn sasl(mechanism: &str, user: &str) -> [String; 4] {
    [
        "\"security.protocol\" = \"sasl_ssl\"".to_owned(),
        format!("\"sasl.mechanism\" = \"{mechanism}\""),
        format!("\"sasl.username\" = \"{user}\""),
        "\"sasl.password\" = { file = \"kafka_password\" }".to_owned(),
    ]
}

/// A scene whose daemon comes in with this password, not yet allowed to do anything.
pub(super) fn with_password(name: &str, listener: &str, mechanism: &str, user: &str, password: &str) -> Result<Scene> {
    let options = sasl(mechanism, user);
    let scene = Secured::shared()?.scene(name, listener, &options.each_ref().map(String::as_str))?;
    scene.write("kafka_password", &format!("{password}\n"))?;
    Ok(scene)
}

#[test]
fn with_sasl_plain() -> Result<()> {
    Secured::shared()?.allow("User:plain", "kafka_plain")?;
    streams(&with_password("kafka_plain", "SASL", "PLAIN", "plain", PLAIN_PASSWORD)?)
}

#[test]
fn with_sasl_scram() -> Result<()> {
    let secured = Secured::shared()?;
    secured.kafka.access(&[&["user", "scram", "gesalzen"]])?;
    secured.allow("User:scram", "kafka_scram")?;
    streams(&with_password("kafka_scram", "SASL", "SCRAM-SHA-512", "scram", "gesalzen")?)
}

/// The daemon's first word on this scene, without addresses.
fn told(scene: &Scene, kind: &str) -> Result<String> {
    let mut daemon = scene.launch()?;
    let cause = scene.cause(&mut daemon, kind, "retrying")?;
    let log = daemon.log()?;
    assert!(!log.contains("connector halted"), "{log}");
    Ok(cause)
}

/// Faults: KF-18.
#[test]
fn a_wrong_password_until_it_is_right() -> Result<()> {
    for (mechanism, user, right) in
        [("PLAIN", "plain", PLAIN_PASSWORD), ("SCRAM-SHA-512", "kafka_wrong_scram", "gesalzen")]
    {
        let name = if mechanism == "PLAIN" { "kafka_wrong_plain" } else { "kafka_wrong_scram" };
        let secured = Secured::shared()?;
        secured.kafka.access(&[&["user", "kafka_wrong_scram", "gesalzen"]])?;
        secured.allow(&format!("User:{user}"), name)?;
        let scene = with_password(name, "SASL", mechanism, user, "falsch")?;
        let mut daemon = scene.launch()?;
        let cause = scene.cause(&mut daemon, "kafka-authorization", "retrying")?;
        assert!(cause.contains("SASL authentication error: Authentication failed"), "{cause}");
        scene.write("kafka_password", right)?;
        daemon.wait_ready(WITHIN)?;
        scene.finish(daemon)?;
    }
    Ok(())
}

/// Faults: KF-18.
#[test]
fn a_broker_of_another_authority_or_name_is_not_believed() -> Result<()> {
    let secured = Secured::shared()?;
    let tls = ["\"security.protocol\" = \"ssl\""];
    let scene = secured.scene("kafka_stranger", "TLS", &tls)?;
    let stranger = Authority::new(Stack::shared()?.sandbox.folder("another_authority")?)?.certificate();
    scene.process(&format!("{:?}", secured.authority.certificate()), &format!("{stranger:?}"))?;
    let cause = told(&scene, "kafka-unreachable")?;
    assert!(cause.contains("certificate verify failed"), "{cause}");

    let scene = secured.scene("kafka_misnamed", "TLS", &tls)?;
    let real: SocketAddr = secured.kafka.bootstrap_by("TLS").parse()?;
    let elsewhere = Proxy::start(Sandbox::new()?.port()?, real)?.address();
    scene.process(&real.to_string(), &elsewhere.to_string())?;
    let cause = told(&scene, "kafka-unreachable")?;
    // librdkafka says it so of any certificate that it does not take, also of one for another address.
    assert!(cause.contains("broker certificate could not be verified"), "{cause}");
    Ok(())
}

#[test]
fn who_shows_nothing_is_kept_out() -> Result<()> {
    let secured = Secured::shared()?;
    let nameless = secured.scene("kafka_nameless", "MUTUAL", &["\"security.protocol\" = \"ssl\""])?;
    let cause = told(&nameless, "kafka-unreachable")?;
    assert!(cause.contains("bad certificate"), "{cause}");
    let plain = secured.scene("kafka_plaintext", "TLS", &[])?;
    told(&plain, "kafka-unreachable")?;
    Ok(())
}

#[test]
fn secrets_stand_elsewhere() -> Result<()> {
    let scene = Secured::shared()?.scene(
        "kafka_literal",
        "SASL",
        &[
            "\"sasl.password\" = \"hunter2\"",
            "\"ssl.key.pem\" = \"hunter2\"",
            "\"sasl.oauthbearer.config\" = \"principal=hunter2\"",
            "\"sasl.oauthbearer.client.credentials.client.secret\" = \"hunter2\"",
        ],
    );
    let told = scene.err().ok_or("literal secrets are taken")?.to_string();
    let refused = "a secret does not stand in this file; write { env = \"NAME\" } or { file = \"/run/secrets/name\" }";
    assert_eq!(told.matches(refused).count(), 4, "{told}");
    assert!(!told.contains("hunter2"), "{told}");
    Ok(())
}
