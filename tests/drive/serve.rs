//! `serve`: the servers alone, to look around on.

use std::sync::Arc;
use std::time::Instant;

use crate::support::kafka::{self, Kafka};
use crate::support::postgres::{self, Postgres, SUPERUSER};
use crate::support::registry::Registry;
use crate::support::sandbox::{Sandbox, logs};
use crate::support::{Result, runtime};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Which servers to start.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Service::Postgres, Service::Kafka, Service::Registry])]
    services: Vec<Service>,
    /// Postgres' major version (14, 16, 17, 18); Debian's by default.
    #[arg(long)]
    postgres: Option<u32>,
    /// How many Kafka brokers: 1 or 3.
    #[arg(long, default_value_t = 1)]
    brokers: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Service {
    Postgres,
    Kafka,
    Registry,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let sandbox = Arc::new(Sandbox::new()?);
    let begun = Instant::now();
    let wanted = |service| arguments.services.contains(&service);
    let version = arguments.postgres.map_or(postgres::Version::Debian, postgres::Version::Major);
    let postgres = wanted(Service::Postgres)
        .then(|| Postgres::start(&sandbox, postgres::Options::version(version)))
        .transpose()?;
    if let Some(postgres) = &postgres {
        println!("postgres  {}  ({:.1} s)", postgres.connection(SUPERUSER), begun.elapsed().as_secs_f64());
        println!(
            "          psql -h {} -p {} -U {SUPERUSER}",
            postgres.socket_folder().display(),
            postgres.address().port()
        );
    }
    let options = kafka::Options::brokers(arguments.brokers);
    let kafka = wanted(Service::Kafka).then(|| Kafka::start(&sandbox, &options)).transpose()?;
    if let Some(kafka) = &kafka {
        println!("kafka     {}  ({:.1} s)", kafka.bootstrap(), begun.elapsed().as_secs_f64());
    }
    let registry = wanted(Service::Registry).then(|| Registry::start(&sandbox)).transpose()?;
    if let Some(registry) = &registry {
        println!("registry  {}  ({:.1} s)", registry.url(), begun.elapsed().as_secs_f64());
    }
    println!("logs      {}\nCtrl-C stops them.", logs()?.display());
    wait_for_signal()
}

/// Until Ctrl-C or SIGTERM.
pub(crate) fn wait_for_signal() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    runtime()?.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            result = tokio::signal::ctrl_c() => result?,
            _ = terminate.recv() => {}
        }
        Ok(())
    })
}
