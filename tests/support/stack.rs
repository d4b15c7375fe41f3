//! Postgres, Kafka and the registry together: one set for a whole test binary, or a set of one's own.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread;

use super::kafka::{self, Kafka};
use super::postgres::{self, Postgres};
use super::registry::Registry;
use super::sandbox::Sandbox;
use super::sql::Sql;
use super::{Context, Result};

/// Of the shared broker: as many tests as have proxies before it, and a few more.
const FRONTS: usize = 16;
/// How often its coordinator looks for transactions that are over their time: ten seconds by default.
const OVERDUE: (&str, &str) = ("transaction.abort.timed.out.transaction.cleanup.interval.ms", "500");

pub(crate) struct Stack {
    pub(crate) postgres: Postgres,
    pub(crate) kafka: Kafka,
    pub(crate) registry: Registry,
    pub(crate) sandbox: Arc<Sandbox>,
}

impl Stack {
    /// The servers of this test binary, started on first use. Nobody can stop them; the reaper does in the end.
    pub(crate) fn shared() -> Result<&'static Self> {
        static SHARED: LazyLock<Result<Stack>> = LazyLock::new(|| {
            let kafka = kafka::Options::default().fronts(FRONTS).set(OVERDUE.0, OVERDUE.1);
            Stack::own(postgres::Options::default(), &kafka)
        });
        SHARED.as_ref().map_err(ToString::to_string).context("start the shared stack")
    }

    /// Servers of one's own, for those who kill them; stopped when dropped.
    pub(crate) fn own(postgres: postgres::Options, kafka: &kafka::Options) -> Result<Self> {
        let sandbox = Arc::new(Sandbox::new()?);
        let (postgres, kafka, registry) = thread::scope(|scope| {
            let postgres = scope.spawn(|| Postgres::start(&sandbox, postgres));
            let registry = scope.spawn(|| Registry::start(&sandbox));
            let kafka = Kafka::start(&sandbox, kafka);
            (joined(postgres), kafka, joined(registry))
        });
        Ok(Self { postgres: postgres?, kafka: kafka?, registry: registry?, sandbox })
    }

    /// A place on these servers that no other test sees. `name`: lower-case letters, digits and `_`.
    pub(crate) fn scenario(&self, name: &str) -> Result<Scenario<'_>> {
        static NUMBER: AtomicUsize = AtomicUsize::new(1);
        let name = format!("{name}_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        self.postgres.create_database(&name)?;
        // The test harness shows this where the test fails.
        println!("{name}: the servers' logs are in {}", super::sandbox::logs()?.display());
        Ok(Scenario { folder: self.sandbox.folder(&name)?, stack: self, name })
    }
}

fn joined<T>(thread: thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().unwrap_or_else(|_| Err("the thread that starts a server panicked".into()))
}

/// One test's database, slot, publication, topics and folder. The database and its slots go when it is dropped.
pub(crate) struct Scenario<'a> {
    pub(crate) stack: &'a Stack,
    /// Unique in this process; also the name of the database.
    pub(crate) name: String,
    /// For configuration files and the like.
    pub(crate) folder: PathBuf,
}

impl Scenario<'_> {
    pub(crate) fn database(&self) -> &str {
        &self.name
    }

    pub(crate) fn slot(&self) -> String {
        format!("walwright_{}", self.name)
    }

    pub(crate) fn publication(&self) -> String {
        format!("walwright_{}", self.name)
    }

    /// With the dot that ends it.
    pub(crate) fn topic_prefix(&self) -> String {
        format!("{}.", self.name)
    }

    pub(crate) fn sql(&self) -> Result<Sql> {
        self.stack.postgres.sql(&self.name)
    }
}

impl Drop for Scenario<'_> {
    fn drop(&mut self) {
        // A server that the test left stopped has nothing to clear.
        drop(self.stack.postgres.drop_database(&self.name));
    }
}
