//! One connector on a small database: its tables, contracts and files, daemons on it, and what a subscriber sees.
//!
//! A scene starts as a shop with one table and one event. A test changes what it is about, in the database, in the
//! connector file or in a contract, and looks at what the daemon says and publishes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use walwright::checkpoint::record::State;
use walwright::checkpoint::store::Store;
use walwright::kafka::KafkaClient;
use walwright::publish::fence;

use super::daemon::{BINARY, Daemon};
use super::kafka::Kafka;
use super::postgres::Postgres;
use super::proxy::Proxy;
use super::sandbox::Sandbox;
use super::seen::{Reader, Seen};
use super::slot_watch::{Watchdog, Watched};
use super::sql::Sql;
use super::stack::{Scenario, Stack};
use super::{Context, Result, poll};

/// The longest that anything here is waited for.
pub(crate) const WITHIN: Duration = Duration::from_secs(90);
const PASSWORD: &str = "s3cret";

const TABLES: &str =
    "CREATE TABLE orders (id bigint PRIMARY KEY, status text NOT NULL, amount numeric(12,2), note text)";

const CONNECTOR: &str = r#"[source]
id = "/shop/test"
host = "HOST"
port = PORT
database = "NAME"
user = "NAME"
password = { file = "../password" }
tls = "disable"
slot = "walwright_NAME"
publication = "walwright_NAME"

[snapshot]
mode = "none"

[[topic]]
name = "orders"
key = "string"
create = { partitions = 3, replication = 1 }

[[event]]
contract = "shop/OrderPlaced/v1"
table = "public.orders"
on = ["insert"]
topic = "orders"
key = "id"
[event.fields]
meta = "meta"
id = "id"
status = "status"
amount = "amount"
note = "note"

[[table]]
name = "public.orders"
unmatched = "filter"
"#;

const PROCESS: &str = r#"connectors = "connectors/"
schemas = "schemas/"

[kafka]
brokers = "BROKERS"
topic_prefix = "NAME."

[registry]
url = "REGISTRY"

[log]
level = "debug"
"#;

const ORDER_PLACED: &str = r#"{ "type": "record", "name": "OrderPlaced", "namespace": "shop", "doc": "An order.", "fields": [
  { "name": "meta", "type": "common.EventMeta", "doc": "About the event." },
  { "name": "id", "type": "long", "doc": "The order." },
  { "name": "status", "type": "string", "doc": "Its state." },
  { "name": "amount", "type": ["null", { "type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2 }], "default": null, "doc": "Its amount." },
  { "name": "note", "type": ["null", "string"], "default": null, "doc": "A note." }
] }"#;

pub(crate) struct Scene {
    /// Also the name of database, role and connector.
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
    sandbox: Arc<Sandbox>,
    /// Of the superuser.
    connection: String,
    brokers: String,
    registry: String,
    watchdog: Watchdog,
    /// On the shared stack the database goes with the scene.
    _scenario: Option<Scenario<'static>>,
}

impl Scene {
    /// A shop on the shared stack.
    pub(crate) fn new(name: &str) -> Result<Self> {
        let stack = Stack::shared()?;
        let scenario = stack.scenario(name)?;
        let (name, folder) = (scenario.name.clone(), scenario.folder.clone());
        let scene = Self::make(name, folder, &stack.sandbox, &stack.postgres, &stack.kafka, stack.registry.url())?;
        Ok(Self { _scenario: Some(scenario), ..scene })
    }

    /// A shop on servers that the caller may stop; database and files are not removed before them.
    pub(crate) fn on(name: &str, postgres: &Postgres, kafka: &Kafka, registry: String) -> Result<Self> {
        Self::at(&Stack::shared()?.sandbox, name, postgres, kafka, registry)
    }

    /// The same with its files in this sandbox.
    pub(crate) fn at(
        sandbox: &Arc<Sandbox>,
        name: &str,
        postgres: &Postgres,
        kafka: &Kafka,
        registry: String,
    ) -> Result<Self> {
        postgres.create_database(name)?;
        Self::make(name.to_owned(), sandbox.folder(name)?, sandbox, postgres, kafka, registry)
    }

    /// A shop on servers of the caller's own.
    pub(crate) fn own(name: &str, stack: &Stack) -> Result<Self> {
        stack.postgres.create_database(name)?;
        let (sandbox, folder) = (&stack.sandbox, stack.sandbox.folder(name)?);
        Self::make(name.to_owned(), folder, sandbox, &stack.postgres, &stack.kafka, stack.registry.url())
    }

    fn make(
        name: String,
        folder: PathBuf,
        sandbox: &Arc<Sandbox>,
        postgres: &Postgres,
        kafka: &Kafka,
        registry: String,
    ) -> Result<Self> {
        let (sandbox, connection) = (Arc::clone(sandbox), postgres.socket_connection(&name));
        let brokers = kafka.bootstrap();
        let scene = Self {
            name,
            folder,
            sandbox,
            connection,
            brokers,
            registry,
            watchdog: Watchdog::default(),
            _scenario: None,
        };
        scene.write_files(postgres)?;
        scene.furnish(&scene.sql()?)?;
        Ok(scene)
    }

    /// Fills an empty database: the tables, and what `walwright grants` says, on top of no rights at all.
    pub(crate) fn furnish(&self, sql: &Sql) -> Result<()> {
        let name = &self.name;
        let grants = self.command(&["grants", name])?;
        assert!(grants.status.success(), "{}", String::from_utf8_lossy(&grants.stderr));
        sql.batch(TABLES)?;
        sql.batch(&format!("REVOKE ALL ON DATABASE {name} FROM PUBLIC; REVOKE ALL ON SCHEMA public FROM PUBLIC"))?;
        sql.batch(&String::from_utf8(grants.stdout)?)?;
        sql.batch(&format!("ALTER ROLE {name} PASSWORD '{PASSWORD}'"))
    }

    fn write_files(&self, postgres: &Postgres) -> Result<()> {
        let address = postgres.address();
        let connector = CONNECTOR
            .replace("HOST", &address.ip().to_string())
            .replace("PORT", &address.port().to_string())
            .replace("NAME", &self.name);
        let process =
            PROCESS.replace("BROKERS", &self.brokers).replace("NAME", &self.name).replace("REGISTRY", &self.registry);
        self.write(&format!("connectors/{}.toml", self.name), &connector)?;
        self.write("walwright.toml", &process)?;
        self.write("password", PASSWORD)?;
        self.write("schemas/shop/OrderPlaced/v1.avsc", ORDER_PLACED)?;
        let meta = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/common/EventMeta/v1.avsc");
        self.write("schemas/common/EventMeta/v1.avsc", &std::fs::read_to_string(meta)?)
    }

    /// Writes a file of the scene's folder.
    pub(crate) fn write(&self, path: &str, text: &str) -> Result<()> {
        let file = self.folder.join(path);
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&file, text).context(file.display())
    }

    /// Replaces what occurs exactly once in the connector file.
    pub(crate) fn connector(&self, from: &str, to: &str) -> Result<()> {
        self.replace(&format!("connectors/{}.toml", self.name), from, to)
    }

    /// Adds to the end of the connector file.
    pub(crate) fn connector_more(&self, more: &str) -> Result<()> {
        let path = format!("connectors/{}.toml", self.name);
        let text = std::fs::read_to_string(self.folder.join(&path))?;
        self.write(&path, &(text + more))
    }

    /// Replaces what occurs exactly once in the process file.
    pub(crate) fn process(&self, from: &str, to: &str) -> Result<()> {
        self.replace("walwright.toml", from, to)
    }

    /// Replaces what occurs exactly once in a file of the folder.
    pub(crate) fn replace(&self, path: &str, from: &str, to: &str) -> Result<()> {
        let text = std::fs::read_to_string(self.folder.join(path)).context(path)?;
        if text.matches(from).count() != 1 {
            return Err(format!("{path} does not hold {from:?} once:\n{text}").into());
        }
        self.write(path, &text.replace(from, to))
    }

    /// A second connector on the same tables: a file, slot, source id and topic of its own. Returns its name.
    pub(crate) fn sibling(&self, topic: &str) -> Result<String> {
        let own = std::fs::read_to_string(self.folder.join(format!("connectors/{}.toml", self.name)))?;
        let text = own
            .replace("id = \"/shop/test\"", &format!("id = \"/shop/{topic}\""))
            .replace(&format!("slot = \"{}\"", self.slot()), &format!("slot = \"{}_{topic}\"", self.slot()))
            .replace("name = \"orders\"", &format!("name = \"{topic}\""))
            .replace("topic = \"orders\"", &format!("topic = \"{topic}\""));
        let name = format!("{}_{topic}", self.name);
        self.write(&format!("connectors/{name}.toml"), &text)?;
        Ok(name)
    }

    /// The same connector on another server.
    pub(crate) fn move_to(&mut self, from: &Postgres, to: &Postgres) -> Result<()> {
        self.watchdog.end()?;
        let line = |server: &Postgres| format!("port = {}", server.address().port());
        self.connector(&line(from), &line(to))?;
        self.connection = to.socket_connection(&self.name);
        Ok(())
    }

    /// The same server on the shared stack, through a proxy.
    pub(crate) fn through_proxy(&self) -> Result<Proxy> {
        let stack = Stack::shared()?;
        let server = stack.postgres.address();
        let proxy = Proxy::start(stack.sandbox.port()?, server)?;
        self.connector(&format!("port = {}", server.port()), &format!("port = {}", proxy.address().port()))?;
        Ok(proxy)
    }

    /// Kafka on the shared stack, through proxies of this scene's own; what the test reads does not pass them.
    pub(crate) fn through_front(&self) -> Result<Proxy> {
        let mut front = Stack::shared()?.kafka.front()?;
        self.process(&format!("brokers = \"{}\"", self.brokers), &format!("brokers = \"{}\"", front.bootstrap))?;
        front.proxies.pop().ok_or_else(|| "no broker has a proxy".into())
    }

    /// The registry on the shared stack, through a proxy.
    pub(crate) fn through_registry_proxy(&self) -> Result<Proxy> {
        let stack = Stack::shared()?;
        let (server, here) = (stack.registry.address(), stack.sandbox.port()?);
        self.process(&server.to_string(), &here.to_string())?;
        Proxy::start(here, server)
    }

    /// Ends the connection that streams, as an administrator does; false where there is none.
    pub(crate) fn end_walsender(&self) -> Result<bool> {
        let end = "SELECT pg_terminate_backend(active_pid, 10000) FROM pg_replication_slots
                   WHERE slot_name = $1 AND active_pid IS NOT NULL";
        Ok(!self.sql()?.query(end, &[&self.slot()])?.is_empty())
    }

    /// A session of the superuser.
    pub(crate) fn sql(&self) -> Result<Sql> {
        Sql::connect(&self.connection)
    }

    /// Inserts orders `from..=to`, one transaction each.
    pub(crate) fn insert(&self, from: i64, to: i64) -> Result<()> {
        place(&self.sql()?, from, to)
    }

    pub(crate) fn slot(&self) -> String {
        format!("walwright_{}", self.name)
    }

    pub(crate) fn brokers(&self) -> &str {
        &self.brokers
    }

    /// A topic's whole name.
    pub(crate) fn topic(&self, name: &str) -> String {
        format!("{}.{name}", self.name)
    }

    /// Runs the program with this scene's process file to its end.
    pub(crate) fn command(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(BINARY);
        command.args(arguments).arg("--config").arg(self.folder.join("walwright.toml"));
        command.output().context(format!("{command:?}"))
    }

    /// What the program says on standard output, where it must succeed; what varies is replaced by words.
    pub(crate) fn says(&self, arguments: &[&str]) -> Result<String> {
        let output = self.command(arguments)?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        let lines: Vec<String> = said.lines().map(|line| self.masked(line)).collect();
        Ok(lines.join("\n"))
    }

    /// What the program says on standard error, where it must fail with `code`; the folder is written `~`.
    pub(crate) fn complaint(&self, arguments: &[&str], code: i32) -> Result<String> {
        let output = self.command(arguments)?;
        let text = String::from_utf8_lossy(&output.stderr).replace(&self.folder.display().to_string(), "~");
        let text = text.replace(&self.name, "NAME");
        assert_eq!(output.status.code(), Some(code), "{text}");
        Ok(text)
    }

    /// Registers the contracts.
    pub(crate) fn push(&self) -> Result<()> {
        let output = self.command(&["schemas", "push"])?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(()) } else { Err(said.into()) }
    }

    /// Starts a daemon, ready or not; from the first one on, the slot is watched.
    pub(crate) fn launch(&self) -> Result<Daemon> {
        self.launch_with(&[])
    }

    /// The same with more in its environment.
    pub(crate) fn launch_with(&self, environment: &[(&str, &str)]) -> Result<Daemon> {
        self.watch()?;
        let admin = self.sandbox.port()?;
        let listen = admin.to_string();
        let environment = [environment, &[("WALWRIGHT_ADMIN__LISTEN", &listen)]].concat();
        let config = self.folder.join("walwright.toml");
        Daemon::start(&self.sandbox, &self.name, Path::new(BINARY), &config, admin, &environment)
    }

    /// The same by a shell that has run `first`.
    pub(crate) fn launch_behind(&self, first: &str) -> Result<Daemon> {
        self.watch()?;
        let config = self.folder.join("walwright.toml");
        Daemon::start_behind(first, &self.sandbox, &self.name, &config, self.sandbox.port()?)
    }

    fn watch(&self) -> Result<()> {
        self.watchdog.begin(|| Watched {
            postgres: self.connection.clone(),
            slot: self.slot(),
            brokers: self.brokers.clone(),
            checkpoint_topic: self.store().topic().to_owned(),
            settle: Watched::SETTLE,
        })
    }

    /// Starts a daemon and waits until it streams.
    pub(crate) fn start(&self) -> Result<Daemon> {
        let mut daemon = self.launch()?;
        daemon.wait_ready(WITHIN)?;
        Ok(daemon)
    }

    /// Pushes the contracts, then starts a daemon.
    pub(crate) fn open(&self) -> Result<Daemon> {
        self.push()?;
        self.start()
    }

    /// Starts a daemon that must not get ready, and returns the cause that it gives, without what varies.
    pub(crate) fn halts(&self, kind: &str) -> Result<String> {
        let mut daemon = self.launch()?;
        self.cause(&mut daemon, kind, "halted")
    }

    /// Waits until the connector is in `state` because of `kind`, and returns the cause without what varies.
    pub(crate) fn cause(&self, daemon: &mut Daemon, kind: &str, state: &str) -> Result<String> {
        let report =
            daemon.wait_report(&self.name, WITHIN, |report| report["state"] == state && report["kind"] == kind)?;
        assert!(report["remedy"].as_str().is_some_and(|remedy| remedy.len() > 20), "{report}");
        assert_eq!(report["more"], format!("walwright explain {kind}"));
        Ok(self.masked(report["cause"].as_str().unwrap_or_default()))
    }

    /// Positions, process ids, instances, system identifiers, the scene's name and folder replaced by words.
    pub(crate) fn masked(&self, text: &str) -> String {
        let text = text.replace(&self.folder.display().to_string(), "~").replace(&self.name, "NAME");
        let text = text.replace(&self.brokers, "BROKERS").replace(&self.registry, "REGISTRY");
        text.split(' ').map(masked_word).collect::<Vec<_>>().join(" ")
    }

    /// A consumer of a topic from its beginning; the topic must exist.
    pub(crate) fn reader(&self, topic: &str) -> Result<Reader> {
        Reader::new(&self.brokers, &self.registry, &self.topic(topic))
    }

    /// Reads `count` records of a topic from its beginning, each as soon as it is visible.
    pub(crate) fn read(&self, topic: &str, count: usize) -> Result<Vec<Seen>> {
        self.reader(topic)?.read(count, WITHIN)
    }

    /// Reads all of a topic. Nobody may write meanwhile.
    pub(crate) fn read_all(&self, topic: &str) -> Result<Vec<Seen>> {
        self.reader(topic)?.read_all(WITHIN)
    }

    /// The orders `1..=count` are on the topic, each once. Nobody may write meanwhile.
    pub(crate) fn exactly(&self, count: i64) -> Result<()> {
        let seen = self.read_all("orders")?;
        let ids: BTreeSet<_> = seen.iter().filter_map(|seen| seen.field("id").as_i64()).collect();
        assert_eq!((seen.len() as i64, ids), (count, (1..=count).collect()));
        Ok(())
    }

    /// A metric's value: of the series that has all of `labels`, summed over the others.
    pub(crate) fn metric(&self, daemon: &Daemon, name: &str, labels: &[&str]) -> Result<f64> {
        let text = daemon.get("/metrics")?;
        let own = format!("connector=\"{}\"", self.name);
        let series = text.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{')));
        let series = series.filter(|line| line.contains(&own) && labels.iter().all(|label| line.contains(label)));
        series.map(|line| line.rsplit(' ').next().unwrap_or_default().parse::<f64>().context(line)).sum()
    }

    /// Waits until a metric is as wanted.
    pub(crate) fn wait_metric(
        &self,
        daemon: &Daemon,
        name: &str,
        labels: &[&str],
        wanted: impl Fn(f64) -> bool,
    ) -> Result<f64> {
        let mut last = f64::NAN;
        let found = poll(WITHIN, || {
            last = self.metric(daemon, name, labels)?;
            Ok(wanted(last).then_some(last))
        })?;
        found.ok_or_else(|| format!("{name} {labels:?} is {last}").into())
    }

    /// Stops a daemon in good order. What every scene keeps: each change received was published or filtered, and the
    /// slot never passed the checkpoint.
    pub(crate) fn finish(&self, mut daemon: Daemon) -> Result<()> {
        self.conserved(&daemon)?;
        let status = daemon.terminate(WITHIN)?;
        assert!(status.success(), "{status}: {}", daemon.log()?);
        self.watched()
    }

    /// What the slot's watchdog found.
    pub(crate) fn watched(&self) -> Result<()> {
        self.watchdog.end()
    }

    /// The test puts slot and checkpoint at odds itself, so nobody watches.
    pub(crate) fn unwatched(&self) {
        self.watchdog.turn_off();
    }

    /// Counted just after a commit became visible, so it is waited for.
    fn conserved(&self, daemon: &Daemon) -> Result<()> {
        let mut counts = [0.0; 4];
        let names = ["received", "published", "filtered", "covered"];
        let equal = poll(WITHIN, || {
            for (count, name) in counts.iter_mut().zip(names) {
                *count = self.metric(daemon, &format!("walwright_changes_{name}_total"), &[])?;
            }
            Ok((counts[0] == counts[1] + counts[2] + counts[3]).then_some(()))
        })?;
        equal.ok_or_else(|| format!("received, published, filtered, covered: {counts:?}").into())
    }

    pub(crate) fn store(&self) -> Store {
        Store::new(&KafkaClient::new(&self.brokers), &format!("{}.", self.name), &self.name)
    }

    /// What the checkpoint topic says.
    pub(crate) fn state(&self) -> Result<State> {
        self.store().read_stable(Instant::now() + WITHIN).map_err(|error| error.chain().into())
    }

    /// Writes records of the checkpoint topic, which must exist, as a daemon does; None removes.
    pub(crate) fn write_state(&self, records: &[(&str, Option<&[u8]>)]) -> Result<()> {
        let (client, store, end) = (KafkaClient::new(&self.brokers), self.store(), Instant::now() + WITHIN);
        let written = fence(&client, "walwright", &self.name, store.topic(), 60_000, end)
            .and_then(|mut fenced| fenced.control.commit_records(store.topic(), records, end));
        written.map_err(|error| error.chain().into())
    }
}

/// Inserts orders `from..=to`, one transaction each, in this session: another thread's, say.
pub(crate) fn place(sql: &Sql, from: i64, to: i64) -> Result<()> {
    (from..=to).try_for_each(|id| sql.execute("INSERT INTO orders VALUES ($1, 'PLACED', 12.50)", &[&id]).map(drop))
}

fn masked_word(word: &str) -> String {
    let core = word.trim_matches(|char: char| "():,;".contains(char));
    let hex = |part: &str| !part.is_empty() && part.chars().all(|char| matches!(char, '0'..='9' | 'A'..='F'));
    let lsn = core.split_once('/').is_some_and(|(high, low)| hex(high) && hex(low));
    let with = if lsn {
        "LSN"
    } else if core.len() == 32 && core.chars().all(|char| char.is_ascii_hexdigit()) {
        "INSTANCE"
    } else if core.len() == 19 && core.chars().all(|char| char.is_ascii_digit()) {
        "SYSTEM"
    } else {
        return word.to_owned();
    };
    word.replace(core, with)
}
