//! A Postgres server of our own: initdb, start, stop, kill, restart, copy.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::Signal;

use super::certificates::{Issued, copy_closed};
use super::process::{Farewell, Process, run};
use super::sandbox::Sandbox;
use super::sql::Sql;
use super::{Context, Result, cache};

const START: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(60);
pub(crate) const SUPERUSER: &str = "postgres";
pub(crate) const PASSWORD: &str = "postgres";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Version {
    /// The newest that Debian's packages have installed.
    #[default]
    Debian,
    /// A major version from the package cache.
    Major(u32),
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    pub(crate) version: Version,
    /// Laid over the defaults of the stack, as in postgresql.conf, unquoted.
    pub(crate) settings: Vec<(String, String)>,
}

impl Options {
    pub(crate) fn version(version: Version) -> Self {
        Self { version, ..Self::default() }
    }

    pub(crate) fn set(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Waits for the walsenders' clients to have received everything.
    Fast,
    /// Drops everything; the next start recovers.
    Immediate,
}

/// Users over the socket: the superuser is trusted, everybody else has a password; over TCP everybody has one.
const HBA: &str = "\
local  all          postgres                trust
local  all          all                     scram-sha-256
local  replication  postgres                trust
host   all          all       127.0.0.0/8   scram-sha-256
host   replication  all       127.0.0.0/8   scram-sha-256
";

pub(crate) struct Postgres {
    installation: Installation,
    folder: PathBuf,
    address: std::net::SocketAddr,
    settings: Vec<(String, String)>,
    log: PathBuf,
    process: Option<Process>,
    /// Its folder must outlive the process.
    sandbox: Arc<Sandbox>,
}

impl Postgres {
    /// Makes a new cluster and starts it.
    pub(crate) fn start(sandbox: &Arc<Sandbox>, options: Options) -> Result<Self> {
        let mut server = Self::in_new_folder(sandbox, Installation::find(options.version)?, options.settings)?;
        server.initdb()?;
        server.restart()?;
        Ok(server)
    }

    fn in_new_folder(
        sandbox: &Arc<Sandbox>,
        installation: Installation,
        settings: Vec<(String, String)>,
    ) -> Result<Self> {
        let folder = sandbox.folder("pg")?;
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        installation.own(&folder)?;
        Ok(Self {
            sandbox: Arc::clone(sandbox),
            installation,
            log: sandbox.log(&name)?,
            address: sandbox.port()?,
            folder,
            settings,
            process: None,
        })
    }

    fn initdb(&self) -> Result<()> {
        let password = self.folder.join("password");
        std::fs::write(&password, PASSWORD)?;
        let mut initdb = self.installation.command("initdb");
        initdb.args(["--no-sync", "--no-instructions", "--encoding=UTF8", "--locale=C.UTF-8", "-U", SUPERUSER]);
        initdb.arg("-D").arg(self.data()).arg("--pwfile").arg(&password);
        run(initdb.args(["--auth-local=trust", "--auth-host=scram-sha-256"]).current_dir("/"))?;
        std::fs::write(self.data().join("pg_hba.conf"), HBA)?;
        let line = "include 'walwright.conf'\n";
        let path = self.data().join("postgresql.conf");
        let own = std::fs::read_to_string(&path).context(path.display())?;
        std::fs::write(&path, own + line).context(path.display())
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    pub(crate) fn address(&self) -> std::net::SocketAddr {
        self.address
    }

    /// The folder of the Unix socket, for `host`; the port is [`Self::address`]'s.
    pub(crate) fn socket_folder(&self) -> &Path {
        &self.folder
    }

    /// The postmaster's process id, where it runs.
    pub(crate) fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// One of the programs of its version.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.installation.programs.join(name)
    }

    /// libpq's key words for a TCP connection of the superuser, with its password.
    pub(crate) fn connection(&self, database: &str) -> String {
        let (host, port) = (self.address.ip(), self.address.port());
        format!("host={host} port={port} user={SUPERUSER} password={PASSWORD} dbname={database}")
    }

    /// The same over the Unix socket, where the superuser needs no password.
    pub(crate) fn socket_connection(&self, database: &str) -> String {
        format!("host={} port={} user={SUPERUSER} dbname={database}", self.folder.display(), self.address.port())
    }

    pub(crate) fn sql(&self, database: &str) -> Result<Sql> {
        Sql::connect(&self.socket_connection(database))
    }

    pub(crate) fn create_database(&self, name: &str) -> Result<()> {
        self.sql(SUPERUSER)?.batch(&format!("CREATE DATABASE {name}"))
    }

    /// Creates a database with all that `template` has in it.
    pub(crate) fn copy_database(&self, template: &str, name: &str) -> Result<()> {
        // One at a time: the server lets nobody be connected to the template, another copy neither.
        static COPYING: Mutex<()> = Mutex::new(());
        let _copying = COPYING.lock().unwrap_or_else(PoisonError::into_inner);
        self.sql(SUPERUSER)?.batch(&format!("CREATE DATABASE {name} TEMPLATE {template}"))
    }

    /// Drops a database with its slots, whoever still uses them.
    pub(crate) fn drop_database(&self, name: &str) -> Result<()> {
        let sql = self.sql(SUPERUSER)?;
        sql.query(
            "SELECT pg_terminate_backend(active_pid, 10000) FROM pg_replication_slots WHERE active AND database = $1",
            &[&name],
        )?;
        sql.query(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = $1",
            &[&name],
        )?;
        sql.batch(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
    }

    /// Lets the WAL go on with this segment, and transactions in this epoch of their numbers. It must be stopped.
    pub(crate) fn reset_wal(&self, segment: &str, epoch: &str) -> Result<()> {
        let mut reset = self.installation.command("pg_resetwal");
        run(reset.args(["-l", segment, "-e", epoch, "-D"]).arg(self.data()).current_dir("/")).map(drop)
    }

    /// Who may come in over TCP, and how (`pg_hba.conf`), from the next start on.
    pub(crate) fn admit(&self, method: &str) -> Result<()> {
        let path = self.data().join("pg_hba.conf");
        std::fs::write(&path, HBA.replace("127.0.0.0/8   scram-sha-256", &format!("127.0.0.0/8   {method}")))
            .context(path.display())
    }

    /// Who may come in over TCP, as whole lines of `pg_hba.conf`, from now on; over the socket only the superuser.
    pub(crate) fn admit_only(&self, lines: &str) -> Result<()> {
        std::fs::write(self.data().join("pg_hba.conf"), format!("local all postgres trust\n{lines}\n"))?;
        self.sql(SUPERUSER)?.batch("SELECT pg_reload_conf()")
    }

    /// From the next start on, client certificates of this authority (a file, PEM) are believed.
    pub(crate) fn believe(&mut self, authority: &Path) -> Result<()> {
        let to = self.data().join("root.crt");
        copy_closed(authority, &to)?;
        self.installation.own(&to)?;
        self.set("ssl_ca_file", "root.crt");
        Ok(())
    }

    /// Turns TLS on from the next start on.
    pub(crate) fn show_certificate(&mut self, issued: &Issued) -> Result<()> {
        for (from, name) in [(&issued.certificate, "server.crt"), (&issued.key, "server.key")] {
            let to = self.data().join(name);
            copy_closed(from, &to)?;
            self.installation.own(&to)?;
        }
        self.set("ssl", "on");
        Ok(())
    }

    /// Changes a setting for the next start.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.settings.push((name.to_owned(), value.to_owned()));
    }

    /// Starts the server, stopping it first (fast) where it runs. It keeps its data, port and socket.
    pub(crate) fn restart(&mut self) -> Result<()> {
        self.stop(Stop::Fast)?;
        std::fs::write(self.data().join("walwright.conf"), self.configuration())?;
        let mut server = self.installation.command("postgres");
        server.arg("-D").arg(self.data()).current_dir("/");
        let (data, connection) = (self.data(), self.socket_connection(SUPERUSER));
        let process = self.process.insert(Process::spawn("postgres", server, &self.log, Farewell::Quit)?);
        process.ready(START, || is_ours(&connection, &data))
    }

    fn configuration(&self) -> String {
        let (port, host, socket) = (self.address.port(), self.address.ip(), self.folder.display());
        let own = [
            ("listen_addresses", host.to_string()),
            ("port", port.to_string()),
            ("unix_socket_directories", socket.to_string()),
            ("wal_level", "logical".to_owned()),
            ("max_replication_slots", "50".to_owned()),
            ("max_wal_senders", "50".to_owned()),
            ("shared_buffers", "64MB".to_owned()),
            ("log_line_prefix", "%m [%p] %q%u@%d ".to_owned()),
        ];
        let own = own.iter().map(|(name, value)| (*name, value.as_str()));
        let given = self.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        own.chain(given).map(|(name, value)| format!("{name} = '{}'\n", value.replace('\'', "''"))).collect()
    }

    /// Stops the server and waits for its end; nothing to do where it does not run.
    pub(crate) fn stop(&mut self, stop: Stop) -> Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        let signal = match stop {
            Stop::Fast => Signal::INT,
            Stop::Immediate => Signal::QUIT,
        };
        if process.ended()?.is_none() {
            process.signal(signal)?;
            process.wait(STOP)?;
        }
        self.wait_for_children()
    }

    /// SIGKILL to the postmaster; its children end by themselves and are waited for.
    pub(crate) fn kill_hard(&mut self) -> Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        process.kill_hard()?;
        self.wait_for_children()
    }

    /// SIGSTOP and SIGCONT for the postmaster, and whatever else a test wants to send.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        self.process.as_ref().ok_or("postgres does not run")?.signal(signal)
    }

    /// A postmaster refuses to start while a child of the one before is still attached to the shared memory. All of
    /// them have the data folder as their current one.
    fn wait_for_children(&self) -> Result<()> {
        let data = self.data();
        let gone = super::poll(STOP, || Ok((!any_process_in(&data)).then_some(())))?;
        gone.ok_or_else(|| format!("processes still run in {}", data.display()).into())
    }

    /// A second server over a copy of this one's data, for a standby or a restored server. This one must be stopped;
    /// the copy is not started and has its own port, socket and log.
    pub(crate) fn copy(&self) -> Result<Self> {
        if self.process.is_some() {
            return Err("stop postgres before its data is copied".into());
        }
        let copy = Self::in_new_folder(&self.sandbox, self.installation.clone(), self.settings.clone())?;
        run(Command::new("cp").arg("-a").arg(self.data()).arg(copy.data()))?;
        drop(std::fs::remove_file(copy.data().join("postmaster.pid")));
        Ok(copy)
    }

    /// Makes this copy a standby of `primary` from its next start on; `pg_promote()` ends that.
    pub(crate) fn follow(&mut self, primary: &Self) -> Result<()> {
        let connection = primary.socket_connection(SUPERUSER).replace(&format!(" dbname={SUPERUSER}"), "");
        self.set("primary_conninfo", &connection);
        let signal = self.data().join("standby.signal");
        std::fs::write(&signal, "").context(signal.display())?;
        self.installation.own(&signal)
    }
}

/// Ready, and the server that answers is the one over `data`: not somebody else's at the same port.
fn is_ours(connection: &str, data: &Path) -> Result<Option<()>> {
    let Ok(sql) = Sql::connect(connection) else { return Ok(None) };
    let answered: String = sql.value("SHOW data_directory")?;
    if Path::new(&answered) == data {
        return Ok(Some(()));
    }
    Err(format!("the server at {connection} is another one, over {answered}").into())
}

fn any_process_in(folder: &Path) -> bool {
    let Ok(processes) = std::fs::read_dir("/proc") else { return false };
    processes.flatten().any(|entry| std::fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == folder))
}

/// Where the programs of one version are, and who runs them.
#[derive(Clone)]
struct Installation {
    programs: PathBuf,
    account: Option<Account>,
}

/// The unprivileged user for Postgres, which refuses to run as root.
#[derive(Clone, Copy)]
struct Account {
    user: u32,
    group: u32,
}

impl Installation {
    fn find(version: Version) -> Result<Self> {
        let account = if rustix::process::geteuid().is_root() { Some(Account::find()?) } else { None };
        let programs = match version {
            Version::Debian => debian_programs()?,
            Version::Major(major) if account.is_some() => readable_copy(major)?.join("bin"),
            Version::Major(major) => cache::postgres(major)?.join("bin"),
        };
        Ok(Self { programs, account })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.env("LC_ALL", "C.UTF-8").env_remove("PGDATA").env_remove("PGPORT");
        if let Some(account) = self.account {
            // The supplementary groups of root are dropped with them.
            command.uid(account.user).gid(account.group);
        }
        command
    }

    fn own(&self, path: &Path) -> Result<()> {
        match self.account {
            Some(account) => {
                std::os::unix::fs::chown(path, Some(account.user), Some(account.group)).context(path.display())
            }
            None => Ok(()),
        }
    }
}

impl Account {
    /// Debian's `postgres`, else `nobody`.
    fn find() -> Result<Self> {
        let users = std::fs::read_to_string("/etc/passwd").context("/etc/passwd")?;
        let find = |name| users.lines().find_map(|line| Self::parse(line, name));
        let account = find("postgres").or_else(|| find("nobody"));
        account.ok_or_else(|| "as root, Postgres needs the user postgres or nobody to run as".into())
    }

    /// A line of passwd(5): name:password:UID:GID:...
    fn parse(line: &str, name: &str) -> Option<Self> {
        let mut fields = line.strip_prefix(name)?.strip_prefix(':')?.split(':').skip(1);
        Some(Self { user: fields.next()?.parse().ok()?, group: fields.next()?.parse().ok()? })
    }
}

fn debian_programs() -> Result<PathBuf> {
    let majors = std::fs::read_dir("/usr/lib/postgresql").context("/usr/lib/postgresql (Debian package postgresql)")?;
    let majors = majors.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let programs = |major| PathBuf::from(format!("/usr/lib/postgresql/{major}/bin"));
    let newest = majors.filter(|major| programs(*major).join("postgres").exists()).max();
    newest.map(programs).ok_or_else(|| "no Postgres server is installed (Debian package postgresql)".into())
}

/// Root's cache folder is closed to other users: a copy in this process's folder is not.
fn readable_copy(major: u32) -> Result<PathBuf> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let copy = super::reaper::reaper()?.folder().join(format!("postgres-{major}"));
    if !copy.exists() {
        run(Command::new("cp").args(["-a", "--reflink=auto"]).arg(cache::postgres(major)?).arg(&copy))?;
        run(Command::new("chmod").args(["-R", "a+rX"]).arg(&copy))?;
    }
    Ok(copy)
}
