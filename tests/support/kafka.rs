//! A Kafka cluster of our own in KRaft mode, every node a broker and a controller.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use rustix::process::Signal;

use super::cache::JavaServers;
use super::process::{Farewell, Process, run};
use super::proxy::Proxy;
use super::sandbox::{Sandbox, random};
use super::{Result, runtime};

const START: Duration = Duration::from_secs(240);
const STOP: Duration = Duration::from_secs(60);
const REQUEST: Duration = Duration::from_secs(30);

#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// 1 or 3. Three share the machine's cores: for fault tests, never for speed.
    pub(crate) brokers: usize,
    /// Broker settings laid over the stack's.
    pub(crate) settings: Vec<(String, String)>,
    /// Further listeners: name and security protocol.
    pub(crate) listeners: Vec<(&'static str, &'static str)>,
    /// How many tests may put proxies before the brokers ([`Kafka::front`]), each its own.
    pub(crate) fronts: usize,
    /// Its speed counts: it is compiled as well as can be, which takes a broker that starts seconds of both cores.
    measured: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { brokers: 1, settings: Vec::new(), listeners: Vec::new(), fronts: 0, measured: false }
    }
}

impl Options {
    pub(crate) fn brokers(brokers: usize) -> Self {
        Self { brokers, ..Self::default() }
    }

    /// A listener with this security protocol (`SSL`, `SASL_SSL` ..); its options are `listener.name.<name>.`
    pub(crate) fn listen(mut self, name: &'static str, protocol: &'static str) -> Self {
        self.listeners.push((name, protocol));
        self
    }

    pub(crate) fn set(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A broker that stands still for a minute is still in the cluster when it goes on. Else, and where it is the only one,
    /// it finds itself without partitions for a moment; a commit that falls into it is acknowledged, its markers are left
    /// out ("likely deleted already"), and what it wrote stays invisible.
    pub(crate) fn patient(self) -> Self {
        self.set("broker.session.timeout.ms", "120000")
    }

    pub(crate) fn fronts(mut self, fronts: usize) -> Self {
        self.fronts = fronts;
        self
    }

    pub(crate) fn measured(mut self) -> Self {
        self.measured = true;
        self
    }
}

pub(crate) struct Kafka {
    cluster: String,
    nodes: Vec<Node>,
    fronts_taken: AtomicUsize,
}

/// A way to all brokers through proxies.
pub(crate) struct Front {
    /// `bootstrap.servers`.
    pub(crate) bootstrap: String,
    /// One a broker.
    pub(crate) proxies: Vec<Proxy>,
}

/// A listener that tells its clients to come by another address, where a proxy is.
struct Fronted {
    listens: SocketAddr,
    advertised: SocketAddr,
    /// Bound from the beginning, so that nobody else gets the port meanwhile.
    listener: TcpListener,
}

impl Fronted {
    fn new(sandbox: &Sandbox) -> Result<Self> {
        let listener = TcpListener::bind((sandbox.address(), 0))?;
        Ok(Self { listens: sandbox.port()?, advertised: listener.local_addr()?, listener })
    }
}

struct Node {
    class_path: String,
    jit: &'static [&'static str],
    clients: SocketAddr,
    controllers: SocketAddr,
    /// The further listeners.
    others: Vec<(&'static str, SocketAddr)>,
    fronts: Vec<Fronted>,
    folder: PathBuf,
    log: PathBuf,
    process: Option<Process>,
    /// Its folder must outlive the process.
    _sandbox: Arc<Sandbox>,
}

impl Kafka {
    pub(crate) fn start(sandbox: &Arc<Sandbox>, options: &Options) -> Result<Self> {
        let class_path = JavaServers::resolve()?.class_path();
        let nodes = (0..options.brokers).map(|_| Node::new(sandbox, &class_path, options));
        let (cluster, fronts_taken) = (cluster_id(), AtomicUsize::new(0));
        let mut kafka = Self { cluster, nodes: nodes.collect::<Result<_>>()?, fronts_taken };
        kafka.format(options)?;
        kafka.nodes.iter_mut().try_for_each(Node::start)?;
        (0..options.brokers).try_for_each(|broker| kafka.wait_ready(broker))?;
        Ok(kafka)
    }

    /// Writes every node's settings and formats its data folder.
    fn format(&self, options: &Options) -> Result<()> {
        let voters: Vec<_> =
            self.nodes.iter().enumerate().map(|(i, node)| format!("{i}@{}", node.controllers)).collect();
        for (id, node) in self.nodes.iter().enumerate() {
            let settings = node.settings(id, &voters.join(","), options);
            std::fs::write(node.properties(), settings)?;
            let mut format = node.java("-Xmx128m");
            run(format.args(["kafka.tools.StorageTool", "format", "-t", &self.cluster, "-c"]).arg(node.properties()))?;
        }
        Ok(())
    }

    /// `bootstrap.servers`.
    pub(crate) fn bootstrap(&self) -> String {
        let clients: Vec<_> = self.nodes.iter().map(|node| node.clients.to_string()).collect();
        clients.join(",")
    }

    /// `bootstrap.servers` by the listener of this name.
    pub(crate) fn bootstrap_by(&self, listener: &str) -> String {
        let addresses = self.nodes.iter().flat_map(|node| &node.others).filter(|(name, _)| *name == listener);
        addresses.map(|(_, address)| address.to_string()).collect::<Vec<_>>().join(",")
    }

    /// Proxies before the brokers that nobody else uses.
    pub(crate) fn front(&self) -> Result<Front> {
        let number = self.fronts_taken.fetch_add(1, Ordering::Relaxed);
        let fronts: Vec<_> = self.nodes.iter().filter_map(|node| node.fronts.get(number)).collect();
        if fronts.is_empty() {
            return Err("the brokers have no listener left for a proxy: see Options::fronts".into());
        }
        let bootstrap: Vec<_> = fronts.iter().map(|front| front.advertised.to_string()).collect();
        let proxies = fronts.iter().map(|front| Proxy::over(front.listener.try_clone()?, front.listens));
        Ok(Front { bootstrap: bootstrap.join(","), proxies: proxies.collect::<Result<_>>()? })
    }

    /// Users, their rights, and quotas, by `Access.java`; one change a slice.
    pub(crate) fn access(&self, changes: &[&[&str]]) -> Result<()> {
        let mut java = Command::new("java");
        java.args(["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
        java.args(["-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-cp", &JavaServers::resolve()?.class_path()]);
        java.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/java/Access.java"));
        run(java.arg(self.bootstrap()).args(changes.iter().flat_map(|change| change.iter()))).map(drop)
    }

    pub(crate) fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", self.bootstrap());
        client
    }

    pub(crate) fn log(&self, broker: usize) -> Result<&Path> {
        Ok(&self.node(broker)?.log)
    }

    /// A broker's process, where it runs.
    pub(crate) fn id(&self, broker: usize) -> Result<Option<u32>> {
        Ok(self.node(broker)?.process.as_ref().map(Process::id))
    }

    /// What a topic takes on the disk of a broker, without its indexes.
    pub(crate) fn topic_bytes(&self, broker: usize, topic: &str) -> Result<u64> {
        let of_topic = |name: &str| name.rsplit_once('-').is_some_and(|(name, _)| name == topic);
        let mut bytes = 0;
        for partition in std::fs::read_dir(self.node(broker)?.folder.join("data"))?.flatten() {
            if !of_topic(&partition.file_name().to_string_lossy()) {
                continue;
            }
            for file in std::fs::read_dir(partition.path())?.flatten() {
                let is_segment = file.path().extension().is_some_and(|ending| ending == "log");
                bytes += if is_segment { file.metadata()?.len() } else { 0 };
            }
        }
        Ok(bytes)
    }

    /// Creates a topic on as many brokers as there are, at most 3, and waits until it has its leaders.
    pub(crate) fn create_topic(&self, name: &str, partitions: i32, config: &[(&str, &str)]) -> Result<()> {
        let replicas = i32::try_from(self.nodes.len().min(3))?;
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(replicas));
        let topic = config.iter().fold(topic, |topic, (name, value)| topic.set(name, value));
        let admin: AdminClient<DefaultClientContext> = self.client().create()?;
        let options = AdminOptions::new().operation_timeout(Some(REQUEST));
        let results = runtime()?.block_on(admin.create_topics([&topic], &options))?;
        for result in results {
            result.map_err(|(topic, code)| format!("create topic {topic}: {code}"))?;
        }
        Ok(())
    }

    pub(crate) fn delete_topic(&self, name: &str) -> Result<()> {
        let admin: AdminClient<DefaultClientContext> = self.client().create()?;
        let options = AdminOptions::new().operation_timeout(Some(REQUEST));
        for result in runtime()?.block_on(admin.delete_topics(&[name], &options))? {
            result.map_err(|(_, code)| format!("delete topic {name}: {code}"))?;
        }
        Ok(())
    }

    /// Deletes what lies before this offset of a partition.
    pub(crate) fn delete_records(&self, topic: &str, partition: i32, before: i64) -> Result<()> {
        let admin: AdminClient<DefaultClientContext> = self.client().create()?;
        let options = AdminOptions::new().operation_timeout(Some(REQUEST));
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(before))?;
        for deleted in runtime()?.block_on(admin.delete_records(&list, &options))?.elements() {
            deleted.error()?;
        }
        Ok(())
    }

    /// Sets one of a topic's settings; the others that it was created with are the brokers' defaults again.
    pub(crate) fn set_topic(&self, name: &str, setting: &str, value: &str) -> Result<()> {
        let admin: AdminClient<DefaultClientContext> = self.client().create()?;
        let options = AdminOptions::new().operation_timeout(Some(REQUEST));
        let config = AlterConfig::new(ResourceSpecifier::Topic(name)).set(setting, value);
        for result in runtime()?.block_on(admin.alter_configs([&config], &options))? {
            result.map_err(|(_, code)| format!("set {setting} of topic {name}: {code}"))?;
        }
        Ok(())
    }

    /// SIGKILL.
    pub(crate) fn kill_hard(&mut self, broker: usize) -> Result<()> {
        match self.node_mut(broker)?.process.take() {
            Some(mut process) => process.kill_hard(),
            None => Ok(()),
        }
    }

    /// SIGTERM: hands its partitions over and writes everything out.
    pub(crate) fn stop(&mut self, broker: usize) -> Result<()> {
        let Some(mut process) = self.node_mut(broker)?.process.take() else { return Ok(()) };
        if process.ended()?.is_none() {
            process.signal(Signal::TERM)?;
            process.wait(STOP)?;
        }
        Ok(())
    }

    /// SIGSTOP, SIGCONT and what else a test wants to send.
    pub(crate) fn signal(&self, broker: usize, signal: Signal) -> Result<()> {
        self.node(broker)?.process.as_ref().ok_or("the broker does not run")?.signal(signal)
    }

    /// Starts a broker, stopping it first where it runs. It keeps its data and ports.
    pub(crate) fn restart(&mut self, broker: usize) -> Result<()> {
        self.stop(broker)?;
        self.node_mut(broker)?.start()?;
        self.wait_ready(broker)
    }

    fn wait_ready(&mut self, broker: usize) -> Result<()> {
        let cluster = self.cluster.clone();
        let node = self.node_mut(broker)?;
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", node.clients.to_string()).set("log_level", "0");
        config.set("reconnect.backoff.ms", "20").set("reconnect.backoff.max.ms", "100");
        let client: BaseConsumer = config.create()?;
        let process = node.process.as_mut().ok_or("the broker does not run")?;
        process.ready(START, || is_ours(&client, &cluster, i32::try_from(broker)?))
    }

    fn node(&self, broker: usize) -> Result<&Node> {
        self.nodes.get(broker).ok_or_else(|| format!("there is no broker {broker}").into())
    }

    fn node_mut(&mut self, broker: usize) -> Result<&mut Node> {
        self.nodes.get_mut(broker).ok_or_else(|| format!("there is no broker {broker}").into())
    }
}

/// Ready once it answers with itself among the brokers; another cluster's answer is a fault.
fn is_ours(client: &BaseConsumer, cluster: &str, broker: i32) -> Result<Option<()>> {
    let Ok(metadata) = client.fetch_metadata(None, Duration::from_millis(500)) else { return Ok(None) };
    if !metadata.brokers().iter().any(|each| each.id() == broker) {
        return Ok(None);
    }
    match client.client().fetch_cluster_id(Duration::from_secs(5)) {
        Some(answered) if answered == cluster => Ok(Some(())),
        answered => Err(format!("the broker at this port is of another cluster: {answered:?}").into()),
    }
}

impl Node {
    fn new(sandbox: &Arc<Sandbox>, class_path: &str, options: &Options) -> Result<Self> {
        let folder = sandbox.folder("kafka")?;
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let jit: &[_] = if options.measured { &[] } else { &["-XX:TieredStopAtLevel=1"] };
        Ok(Self {
            class_path: class_path.to_owned(),
            jit,
            clients: sandbox.port()?,
            controllers: sandbox.port()?,
            others: options.listeners.iter().map(|(name, _)| Ok((*name, sandbox.port()?))).collect::<Result<_>>()?,
            fronts: (0..options.fronts).map(|_| Fronted::new(sandbox)).collect::<Result<_>>()?,
            log: sandbox.log(&name)?,
            folder,
            process: None,
            _sandbox: Arc::clone(sandbox),
        })
    }

    fn properties(&self) -> PathBuf {
        self.folder.join("server.properties")
    }

    fn settings(&self, id: usize, voters: &str, options: &Options) -> String {
        let (clients, controllers, data) = (self.clients, self.controllers, self.folder.join("data"));
        let replicas = options.brokers.min(3);
        let in_sync = if replicas == 3 { 2 } else { 1 };
        // A killed broker may not come back before its session has run out.
        let session_ms = if replicas == 3 { 6000 } else { 3000 };
        let others: String = self.others.iter().map(|(name, address)| format!(",{name}://{address}")).collect();
        let protocols: String =
            options.listeners.iter().map(|(name, protocol)| format!(",{name}:{protocol}")).collect();
        let fronts = || self.fronts.iter().enumerate();
        let listening: String = fronts().map(|(i, front)| format!(",FRONT{i}://{}", front.listens)).collect();
        let advertised: String = fronts().map(|(i, front)| format!(",FRONT{i}://{}", front.advertised)).collect();
        let plain: String = fronts().map(|(i, _)| format!(",FRONT{i}:PLAINTEXT")).collect();
        let threads = fronts().map(|(i, _)| format!("listener.name.front{i}.num.network.threads=1\n"));
        let own = format!(
            "node.id={id}\n\
             process.roles=broker,controller\n\
             listeners=PLAINTEXT://{clients},CONTROLLER://{controllers}{others}{listening}\n\
             advertised.listeners=PLAINTEXT://{clients}{others}{advertised}\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT{protocols}{plain}\n\
             controller.listener.names=CONTROLLER\n\
             controller.quorum.voters={voters}\n\
             log.dirs={}\n\
             auto.create.topics.enable=false\n\
             default.replication.factor={replicas}\n\
             min.insync.replicas={in_sync}\n\
             offsets.topic.num.partitions=2\n\
             offsets.topic.replication.factor={replicas}\n\
             transaction.state.log.num.partitions=4\n\
             transaction.state.log.replication.factor={replicas}\n\
             transaction.state.log.min.isr={in_sync}\n\
             group.initial.rebalance.delay.ms=0\n\
             broker.session.timeout.ms={session_ms}\n\
             broker.heartbeat.interval.ms=500\n\
             log.cleaner.dedupe.buffer.size=8388608\n",
            data.display()
        );
        let given = options.settings.iter().map(|(name, value)| format!("{name}={value}\n"));
        std::iter::once(own).chain(threads).chain(given).collect()
    }

    fn java(&self, heap: &str) -> Command {
        let mut java = Command::new("java");
        java.args([heap, "-XX:+UseSerialGC"]).args(self.jit).args(["-cp", &self.class_path]);
        java.current_dir(&self.folder);
        java
    }

    fn start(&mut self) -> Result<()> {
        let mut server = self.java("-Xmx512m");
        server.arg("kafka.Kafka").arg(self.properties());
        self.process = Some(Process::spawn("kafka", server, &self.log, Farewell::Kill)?);
        Ok(())
    }
}

/// A new cluster's id: 16 bytes in base64, of which the last character carries two bits only.
fn cluster_id() -> String {
    let mut id = format!("{:016x}{:016x}", random(), random());
    id.truncate(21);
    id + "A"
}
