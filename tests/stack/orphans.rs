//! Servers end with the process that started them, however it ends. That process is this test binary, run again.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::postgres::{Options, Postgres};
use crate::support::process::{pid, wait_for_end};
use crate::support::{Result, poll};

const END: &str = "WALWRIGHT_TEST_END";
const WITHIN: Duration = Duration::from_secs(30);

#[test]
fn servers_end_with_a_process_that_panics() -> Result<()> {
    let mut owner = start_owner("panic")?;
    let server = Server::announced(&mut owner)?;
    assert!(!owner.wait()?.success());
    server.must_be_gone()
}

#[test]
fn servers_end_with_a_process_that_is_killed() -> Result<()> {
    let mut owner = start_owner("wait to be killed")?;
    let server = Server::announced(&mut owner)?;
    assert!(!wait_for_end(pid(server.id)?, Duration::ZERO)?, "the server runs before its owner is killed");
    owner.kill()?;
    owner.wait()?;
    server.must_be_gone()
}

#[test]
#[ignore = "the process that the tests above start; alone it does nothing"]
fn owner_of_a_server() -> Result<()> {
    let Ok(end) = std::env::var(END) else { return Ok(()) };
    // Forgotten, as a server in a `static` is: no destructor stops it.
    let server = Box::leak(Box::new(Postgres::start(&super::sandbox()?, Options::default())?));
    println!("\nserver {} {}", server.id().unwrap_or_default(), server.data().display());
    assert_ne!(end, "panic", "as the test asked");
    loop {
        std::thread::park();
    }
}

fn start_owner(end: &str) -> Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--exact", "stack::orphans::owner_of_a_server", "--ignored", "--nocapture"]);
    Ok(command.env(END, end).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?)
}

struct Server {
    id: u32,
    data: String,
}

impl Server {
    fn announced(owner: &mut Child) -> Result<Self> {
        let output = owner.stdout.as_mut().ok_or("the owner's output is not piped")?;
        for line in BufReader::new(output).lines() {
            if let Some(("server", rest)) = line?.split_once(' ') {
                let (id, data) = rest.split_once(' ').ok_or("the announcement lacks the folder")?;
                return Ok(Self { id: id.parse()?, data: data.to_owned() });
            }
        }
        Err("the owner ended without a server".into())
    }

    fn must_be_gone(&self) -> Result<()> {
        assert!(wait_for_end(pid(self.id)?, WITHIN)?, "the server still runs");
        let removed = poll(WITHIN, || Ok((!Path::new(&self.data).exists()).then_some(())))?;
        assert!(removed.is_some(), "{} is still there", self.data);
        Ok(())
    }
}
