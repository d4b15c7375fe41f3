//! A child process that ends with its owner and whose output is kept.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal};

use super::reaper::reaper;
use super::{Context, Fault, Result};

/// How a process is asked to go when its guard is dropped or its owner dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Farewell {
    /// SIGKILL: it keeps nothing outside of its folder.
    Kill,
    /// SIGQUIT, then SIGKILL: Postgres' immediate stop, which gives its shared memory back.
    Quit,
}

impl Farewell {
    fn signal(self) -> (Signal, &'static str) {
        match self {
            Self::Kill => (Signal::KILL, "KILL"),
            Self::Quit => (Signal::QUIT, "QUIT"),
        }
    }
}

pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    farewell: Farewell,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts `command` in a process group of its own, its output appended to `log`.
    pub(crate) fn spawn(name: &str, mut command: Command, log: &Path, farewell: Farewell) -> Result<Self> {
        let output = File::options().create(true).append(true).open(log).context(log.display())?;
        let reaper = reaper()?;
        let child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .context(format!("start {name}"))?;
        let process = Self { name: name.to_owned(), child, log: log.to_owned(), farewell, ended: None };
        reaper.watch(process.id(), farewell.signal().1)?;
        Ok(process)
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// Sends a signal to the process itself; refused once it has ended.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        if self.ended.is_some() {
            return Err(self.fault("cannot be sent a signal, it has ended"));
        }
        rustix::process::kill_process(self.pid()?, signal).context(format!("signal {}", self.name))
    }

    /// SIGKILL, then waits for the end.
    pub(crate) fn kill_hard(&mut self) -> Result<()> {
        if self.ended.is_none() {
            self.signal(Signal::KILL)?;
            self.wait(Duration::from_secs(30))?;
        }
        Ok(())
    }

    /// Waits for the end; still running after `within` is a fault.
    pub(crate) fn wait(&mut self, within: Duration) -> Result<ExitStatus> {
        if let Some(status) = self.ended {
            return Ok(status);
        }
        if !wait_for_end(self.pid()?, within)? {
            return Err(self.fault(&format!("still runs after {} s", within.as_secs())));
        }
        reaper()?.forget(self.id())?;
        let status = self.child.wait()?;
        self.ended = Some(status);
        Ok(status)
    }

    /// The exit status, if it has ended.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        if self.ended.is_none() && wait_for_end(self.pid()?, Duration::ZERO)? {
            self.wait(Duration::ZERO)?;
        }
        Ok(self.ended)
    }

    /// Asks `probe` until it has an answer; a fault with the log's end if the process ends first or `within` is over.
    pub(crate) fn ready<T>(&mut self, within: Duration, mut probe: impl FnMut() -> Result<Option<T>>) -> Result<T> {
        let answer = super::poll(within, || match self.ended()? {
            Some(status) => Err(self.fault(&format!("ended before it was ready ({status})"))),
            None => probe(),
        })?;
        answer.ok_or_else(|| self.fault(&format!("is not ready after {} s", within.as_secs())))
    }

    /// A fault that names the log and quotes its end.
    pub(crate) fn fault(&self, what: &str) -> Fault {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(15)..).unwrap_or_default().join("\n  ");
        format!("{} {what}; its log is {}, the end of it:\n  {tail}", self.name, self.log.display()).into()
    }

    fn pid(&self) -> Result<Pid> {
        pid(self.id())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended.is_some() {
            return;
        }
        // A stopped process would not see SIGQUIT. What fails here is the reaper's when this process ends.
        drop(self.signal(Signal::CONT).and_then(|()| self.signal(self.farewell.signal().0)));
        let gone = self.wait(Duration::from_secs(10)).is_ok();
        if !gone {
            drop(self.kill_hard());
        }
    }
}

/// Whether it stands still after SIGSTOP.
pub(crate) fn is_stopped(id: u32) -> Result<bool> {
    let file = format!("/proc/{id}/stat");
    let stat = std::fs::read_to_string(&file).context(file)?;
    Ok(stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T')))
}

/// True when the process has ended within `within`. It need not be a child of this one; a number that belongs to no
/// process counts as ended.
pub(crate) fn wait_for_end(pid: Pid, within: Duration) -> Result<bool> {
    let descriptor = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
        Ok(descriptor) => descriptor,
        Err(rustix::io::Errno::SRCH) => return Ok(true),
        Err(error) => return Err(error.into()),
    };
    let end = Instant::now() + within;
    loop {
        let left = Timespec::try_from(end.saturating_duration_since(Instant::now()))?;
        match rustix::event::poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], Some(&left)) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

pub(crate) fn pid(number: u32) -> Result<Pid> {
    let pid = i32::try_from(number).ok().and_then(Pid::from_raw);
    pid.ok_or_else(|| format!("{number} is no process id").into())
}

/// Runs a command to its end and returns its standard output; a failure quotes what it wrote.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let name = format!("{command:?}");
    let output = command.stdin(Stdio::null()).output().context(&name)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    Err(format!("{name} failed ({}):\n{text}{}", output.status, String::from_utf8_lossy(&output.stderr)).into())
}
