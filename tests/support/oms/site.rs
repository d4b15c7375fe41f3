//! The worked example on a stack: the OMS database, and daemons that read it as `connectors/oms.toml` says.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use super::expected::{Counts, expected_counts, read_counts};
use crate::support::daemon::{BINARY, Daemon};
use crate::support::process::run;
use crate::support::sandbox::{Sandbox, random};
use crate::support::sql::Sql;
use crate::support::stack::Stack;
use crate::support::{Context, Result, runtime};

const READY: Duration = Duration::from_secs(120);

/// An OMS database with its reference data, and the role's password.
pub(crate) struct Site<'a> {
    pub(crate) stack: &'a Stack,
    pub(crate) database: String,
    password: String,
}

/// What a daemon is started with.
pub(crate) struct Configuration {
    /// The log's name.
    pub(crate) name: String,
    /// walwright.toml.
    pub(crate) file: PathBuf,
    /// The topics of its connector, with their prefix.
    pub(crate) topics: Vec<String>,
    pub(crate) topic_prefix: String,
}

impl Configuration {
    /// The files of this checkout as they are.
    pub(crate) fn checkout() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let topics = topics(&std::fs::read_to_string(root.join("connectors/oms.toml"))?, "")?;
        let file = root.join("walwright.toml");
        Ok(Self { name: "walwright".to_owned(), file, topics, topic_prefix: String::new() })
    }

    /// The same connector under another name, on a slot that is there already, with topics of its own.
    pub(crate) fn on_slot(stack: &Stack, name: &str, slot: &str) -> Result<Self> {
        let own = format!("slot = {slot:?}");
        let connector = super::connector_file(&format!("/oms/{name}"), slot);
        Self::own(stack, name, &connector.replace(&own, &format!("{own}\nadopt_slot = true")))
    }

    /// The files of this checkout, but rows that exist before the slot are not read.
    pub(crate) fn stream_only(stack: &Stack) -> Result<Self> {
        Self::written(stack, "oms", &super::stream_only(), String::new())
    }

    /// A connector of this name and text, in a folder of its own, with topics of its own.
    pub(crate) fn own(stack: &Stack, name: &str, connector: &str) -> Result<Self> {
        Self::written(stack, name, connector, format!("{name}."))
    }

    /// The same with contracts of one's own.
    pub(crate) fn with_contracts(stack: &Stack, name: &str, connector: &str, schemas: &Path) -> Result<Self> {
        Self::laid_out(stack, name, connector, schemas, format!("{name}."))
    }

    fn written(stack: &Stack, name: &str, connector: &str, topic_prefix: String) -> Result<Self> {
        let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
        Self::laid_out(stack, name, connector, &schemas, topic_prefix)
    }

    fn laid_out(stack: &Stack, name: &str, connector: &str, schemas: &Path, topic_prefix: String) -> Result<Self> {
        let folder = stack.sandbox.folder(name)?;
        let topics = topics(connector, &topic_prefix)?;
        std::fs::create_dir(folder.join("connectors"))?;
        std::fs::write(folder.join("connectors").join(format!("{name}.toml")), connector)?;
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let schemas = format!("schemas = {:?}", schemas.display().to_string());
        let process = std::fs::read_to_string(root.join("walwright.toml"))?.replace("schemas = \"schemas/\"", &schemas);
        let file = folder.join("walwright.toml");
        std::fs::write(&file, process)?;
        Ok(Self { name: name.to_owned(), file, topics, topic_prefix })
    }
}

/// The names of the topics that a connector file declares.
fn topics(connector: &str, prefix: &str) -> Result<Vec<String>> {
    let file: toml::Table = connector.parse()?;
    let topics = file.get("topic").and_then(toml::Value::as_array).ok_or("the connector file has no [[topic]]")?;
    let names = topics.iter().filter_map(|topic| topic.get("name")?.as_str());
    Ok(names.map(|name| format!("{prefix}{name}")).collect())
}

impl<'a> Site<'a> {
    /// Creates the database, schema and reference data, and the role as `walwright grants` says, on top of no rights at all.
    pub(crate) fn create(stack: &'a Stack, database: &str) -> Result<Self> {
        let password = format!("{:016x}", random());
        stack.postgres.create_database(database)?;
        let site = Self { stack, database: database.to_owned(), password };
        let sql = site.sql()?;
        runtime()?.block_on(super::create(sql.client())).context("create the OMS schema")?;
        runtime()?.block_on(super::seed_reference_data(sql.client())).context("load the OMS reference data")?;
        site.grant(&sql)?;
        Ok(site)
    }

    fn grant(&self, sql: &Sql) -> Result<()> {
        let configuration = Configuration::checkout()?;
        let mut grants = Command::new(BINARY);
        grants.args(["grants", "oms", "--config"]).arg(&configuration.file).envs(self.environment(&configuration));
        let nobody = "REVOKE ALL ON DATABASE {} FROM PUBLIC; REVOKE ALL ON SCHEMA public FROM PUBLIC";
        sql.batch(&nobody.replace("{}", &self.database))?;
        sql.batch(&run(&mut grants)?)?;
        sql.batch(&format!("ALTER ROLE {} PASSWORD '{}'", super::ROLE, self.password))
    }

    /// The daemon's password to the database.
    pub(crate) fn password(&self) -> &str {
        &self.password
    }

    /// The same in another database of the server. Nobody may be connected to this one.
    pub(crate) fn copy(&self, database: &str) -> Result<Self> {
        self.stack.postgres.copy_database(&self.database, database)?;
        Ok(Self { stack: self.stack, database: database.to_owned(), password: self.password.clone() })
    }

    pub(crate) fn sql(&self) -> Result<Sql> {
        self.stack.postgres.sql(&self.database)
    }

    /// For the workload.
    pub(crate) fn connection(&self) -> Result<tokio_postgres::Config> {
        Ok(self.stack.postgres.socket_connection(&self.database).parse()?)
    }

    /// The events due by SQL, since the tables were created.
    pub(crate) fn expected_counts(&self) -> Result<Counts> {
        let sql = self.sql()?;
        runtime()?.block_on(expected_counts(sql.client())).context("count the events due")
    }

    /// The events due when all rows that exist now have been read.
    pub(crate) fn read_counts(&self) -> Result<Counts> {
        let sql = self.sql()?;
        runtime()?.block_on(read_counts(sql.client())).context("count the rows to read")
    }

    /// Registers the contracts, as an operator does before the first start.
    pub(crate) fn push_contracts(&self, configuration: &Configuration) -> Result<()> {
        self.push_contracts_with(configuration, &[])
    }

    /// The same with more in the environment.
    pub(crate) fn push_contracts_with(&self, configuration: &Configuration, more: &[(&str, &str)]) -> Result<()> {
        let mut push = Command::new(BINARY);
        push.args(["schemas", "push", "--config"]).arg(&configuration.file);
        push.envs(self.environment(configuration)).envs(more.iter().copied());
        run(&mut push).map(drop)
    }

    /// Starts a daemon and waits until it is ready.
    pub(crate) fn start(&self, configuration: &Configuration) -> Result<Daemon> {
        let mut daemon = self.launch(configuration)?.start()?;
        daemon.wait_ready(READY)?;
        Ok(daemon)
    }

    /// What starting a daemon takes, for those who start it again and again while they also stop servers.
    pub(crate) fn launch(&self, configuration: &Configuration) -> Result<Launch> {
        let admin = self.stack.sandbox.port()?;
        let mut environment = self.environment(configuration);
        environment.push(("WALWRIGHT_ADMIN__LISTEN", admin.to_string()));
        let (name, file) = (configuration.name.clone(), configuration.file.clone());
        let (sandbox, binary) = (Arc::clone(&self.stack.sandbox), PathBuf::from(BINARY));
        Ok(Launch { sandbox, name, binary, file, admin, environment })
    }

    fn environment(&self, configuration: &Configuration) -> Vec<(&'static str, String)> {
        let address = self.stack.postgres.address();
        vec![
            ("OMS_HOST", address.ip().to_string()),
            ("OMS_PORT", address.port().to_string()),
            ("OMS_DATABASE", self.database.clone()),
            ("OMS_USER", super::ROLE.to_owned()),
            ("OMS_PASSWORD", self.password.clone()),
            ("OMS_TLS", "disable".to_owned()),
            ("WALWRIGHT_KAFKA__BROKERS", self.stack.kafka.bootstrap()),
            ("WALWRIGHT_KAFKA__TOPIC_PREFIX", configuration.topic_prefix.clone()),
            ("WALWRIGHT_REGISTRY__URL", self.stack.registry.url()),
        ]
    }
}

/// A daemon's command line, environment and address.
pub(crate) struct Launch {
    sandbox: Arc<Sandbox>,
    name: String,
    binary: PathBuf,
    file: PathBuf,
    admin: SocketAddr,
    environment: Vec<(&'static str, String)>,
}

impl Launch {
    /// Where each daemon's HTTP server listens.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Starts a daemon, ready or not.
    pub(crate) fn start(&self) -> Result<Daemon> {
        self.start_with(&[])
    }

    /// What all of them have logged.
    pub(crate) fn log(&self) -> Result<String> {
        let file = self.sandbox.log(&self.name)?;
        std::fs::read_to_string(&file).context(file.display())
    }

    /// Another build of the daemon.
    pub(crate) fn set_binary(&mut self, binary: &Path) {
        self.binary = binary.to_owned();
    }

    /// Adds to the environment of each daemon.
    pub(crate) fn set(&mut self, name: &'static str, value: &str) {
        self.environment.push((name, value.to_owned()));
    }

    /// What another of the program's commands says with the daemon's settings; where it fails, a fault.
    pub(crate) fn command(&self, arguments: &[&str], more: &[(&str, &str)]) -> Result<String> {
        let mut command = Command::new(BINARY);
        command.args(arguments).arg("--config").arg(&self.file);
        let own = self.environment.iter().map(|(name, value)| (*name, value.as_str()));
        run(command.envs(own).envs(more.iter().copied()))
    }

    /// Starts one with more in its environment.
    pub(crate) fn start_with(&self, more: &[(&str, String)]) -> Result<Daemon> {
        let own = self.environment.iter().map(|(name, value)| (*name, value.as_str()));
        let environment: Vec<_> = own.chain(more.iter().map(|(name, value)| (*name, value.as_str()))).collect();
        Daemon::start(&self.sandbox, &self.name, &self.binary, &self.file, self.admin, &environment)
    }
}

/// The value of the first series of a metric in Prometheus' text format.
pub(crate) fn metric(exposition: &str, name: &str) -> Option<f64> {
    let line =
        exposition.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])))?;
    line.rsplit(' ').next()?.parse().ok()
}
