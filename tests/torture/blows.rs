//! The blows that one daemon lives through, and what a start meets while the registry is in trouble.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use walwright::model::Lsn;

use super::plan::{Blow, RegistryTrouble, Trouble};
use super::record::Recovery;
use super::scene::{COMES_BACK, CONNECTOR, DATABASE, SLOT, Scene};
use super::ways::{Server, Sides};
use crate::support::postgres::Stop;
use crate::support::{Context, Result, poll};

/// After this a dead path is given up for one that nobody notices.
const NOTICED: Duration = Duration::from_secs(60);

impl Scene {
    /// The daemon must come back by itself. The time that counts is from the end of the trouble until all that was
    /// committed by then is on Kafka.
    pub(super) fn strike(&mut self, blow: Blow) -> Result<()> {
        let fault = blow.trouble.name();
        self.let_work(blow.after)?;
        self.suffer(blow.trouble).context(&fault)?;
        let cleared = Instant::now();
        self.await_progress().context(&fault)?;
        self.record.recovered(&fault, cleared);
        self.record.count(&fault);
        Ok(())
    }

    /// Returns when it is over.
    fn suffer(&mut self, trouble: Trouble) -> Result<()> {
        match trouble {
            Trouble::PostgresCrash(lasts) => self.stop_postgres(Stop::Immediate, lasts),
            Trouble::PostgresRestart(lasts) => self.stop_postgres(Stop::Fast, lasts),
            Trouble::BrokerKill(lasts) => {
                self.stack.kafka.kill_hard(0)?;
                self.let_work(lasts)?;
                self.stack.kafka.restart(0)
            }
            Trouble::Cut { server, side, bytes, by_reset } => {
                self.ways.to(server).strike(side, bytes, by_reset);
                let struck = poll(COMES_BACK, || Ok(self.ways.to(server).has_struck().then_some(())))?;
                struck.ok_or_else(|| "so many bytes do not come".into())
            }
            Trouble::WalsenderTerminated => {
                let sql = self.stack.postgres.sql(DATABASE)?;
                let end = "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1";
                sql.query(end, &[&SLOT]).map(drop)
            }
            Trouble::BlackHole(server, sides, lasts) => self.hold(server, sides, |scene| scene.let_work(lasts)),
            Trouble::DeadPath(server, sides) => {
                self.hold(server, sides, |scene| scene.await_red(&Trouble::DeadPath(server, sides).name()))
            }
            Trouble::Delay(server, by, lasts) => {
                self.ways.to(server).delay(by);
                self.let_work(lasts)?;
                self.ways.to(server).delay(Duration::ZERO);
                Ok(())
            }
            Trouble::Slices(server, bytes, lasts) => {
                self.ways.to(server).slice(Some(bytes));
                self.let_work(lasts)?;
                self.ways.to(server).slice(None);
                Ok(())
            }
            Trouble::Frozen(lasts) => {
                let daemon = self.daemon.as_ref().ok_or("no daemon runs")?;
                daemon.signal(Signal::STOP)?;
                self.let_work(lasts)?;
                daemon.signal(Signal::CONT)
            }
        }
    }

    fn stop_postgres(&mut self, stop: Stop, lasts: Duration) -> Result<()> {
        self.stack.postgres.stop(stop)?;
        self.let_work(lasts)?;
        self.stack.postgres.restart()
    }

    fn hold(&mut self, server: Server, sides: Sides, until: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        self.ways.hold(server, sides);
        let over = until(self);
        self.ways.to(server).release();
        over
    }

    /// Waits until `/readyz` is red, and writes down how long that took.
    fn await_red(&mut self, fault: &str) -> Result<()> {
        let begun = Instant::now();
        let daemon = self.daemon.as_mut().ok_or("no daemon runs")?;
        daemon.wait_report(CONNECTOR, NOTICED, |report| report["ready"] == false && report["cause"].is_string())?;
        self.record.dead_paths.push(Recovery::new(fault, begun.elapsed()));
        Ok(())
    }

    /// A daemon is started while the registry is in trouble; the time that counts is until it is ready.
    pub(super) fn start_without_registry(&mut self, trouble: RegistryTrouble) -> Result<()> {
        self.end_daemon()?;
        match trouble {
            RegistryTrouble::Away(lasts) => {
                self.stack.registry.kill_hard()?;
                self.start_daemon(&[])?;
                self.let_work(lasts)?;
                // Others keep their schemas: while this one has none yet, it is not to be seen.
                self.hold(Server::Registry, Sides::Both, |scene| {
                    scene.stack.registry.restart()?;
                    let url = scene.stack.registry.url();
                    scene.launch.command(&["schemas", "push"], &[("WALWRIGHT_REGISTRY__URL", &url)]).map(drop)
                })?;
            }
            RegistryTrouble::Cut { side, bytes, by_reset } => {
                self.ways.to(Server::Registry).strike(side, bytes, by_reset);
                self.start_daemon(&[])?;
            }
            RegistryTrouble::Silent(lasts) => self.hold(Server::Registry, Sides::Both, |scene| {
                scene.start_daemon(&[])?;
                scene.let_work(lasts)
            })?,
        }
        let cleared = Instant::now();
        self.revive().context(trouble.name())?;
        self.ways.to(Server::Registry).call_off();
        self.record.recovered(trouble.name(), cleared);
        self.record.count(trouble.name());
        Ok(())
    }

    /// Lets time pass, in which the daemon may not end.
    pub(super) fn let_work(&self, time: Duration) -> Result<()> {
        match &self.daemon {
            Some(daemon) if daemon.ends_within(time)? => Err(super::scene::ended_by_itself(daemon)),
            Some(_) => Ok(()),
            None => Err("no daemon runs".into()),
        }
    }

    /// Waits until everything that is committed now is on Kafka.
    pub(super) fn await_progress(&mut self) -> Result<()> {
        let flushed: String = self.stack.postgres.sql(DATABASE)?.value("SELECT pg_current_wal_flush_lsn()::text")?;
        let flushed: Lsn = flushed.parse().context("pg_current_wal_flush_lsn")?;
        let caught_up = poll(COMES_BACK, || {
            self.let_work(Duration::ZERO)?;
            Ok(self.checkpoints.newest().is_some_and(|next_lsn| next_lsn >= flushed).then_some(()))
        })?;
        caught_up.ok_or_else(|| {
            let state =
                self.daemon.as_ref().ok_or_else(|| "no daemon runs".into()).and_then(|daemon| daemon.get("/readyz"));
            let state = state.unwrap_or_else(|fault| fault.to_string());
            format!("the checkpoint has not reached {flushed} after {} s: {state}", COMES_BACK.as_secs()).into()
        })
    }
}
