//! Where and on what the figures were taken.

use std::collections::BTreeMap;

use crate::support::Result;
use crate::support::oms::site::Site;
use crate::support::process::run;

type Facts = BTreeMap<String, String>;

pub(crate) fn facts() -> Result<Facts> {
    let cpu = std::fs::read_to_string("/proc/cpuinfo")?;
    let memory = std::fs::read_to_string("/proc/meminfo")?;
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    };
    let memory_kib: u64 = field(&memory, "MemTotal").trim_end_matches(" kB").parse()?;
    Ok(Facts::from([
        ("cores".to_owned(), std::thread::available_parallelism()?.get().to_string()),
        ("processor".to_owned(), field(&cpu, "model name")),
        ("memory".to_owned(), format!("{} GiB", (memory_kib + (1 << 19)) >> 20)),
        ("kernel".to_owned(), kernel.trim().to_owned()),
    ]))
}

pub(crate) fn versions(site: &Site<'_>) -> Result<Facts> {
    let postgres: String = site.sql()?.value("SELECT current_setting('server_version')")?;
    let java = run(std::process::Command::new("java").arg("--version"))?;
    Ok(Facts::from([
        ("walwright".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ("postgres".to_owned(), postgres),
        ("kafka".to_owned(), "4.3.1".to_owned()),
        ("registry".to_owned(), "Apicurio Registry 3.0.9".to_owned()),
        ("java".to_owned(), java.lines().next().unwrap_or_default().to_owned()),
    ]))
}
