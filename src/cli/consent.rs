//! What an act of an operator's needs: to be shown, to be agreed to, to be signed.

use std::io::{BufRead, IsTerminal, Write};

use clap::Args;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

use crate::checkpoint::audit::Signature;
use crate::error::{Error, Kind, Result};

/// How an act is agreed to.
#[derive(Debug, Args)]
pub(super) struct Consent {
    /// Only show what would be done.
    #[arg(long)]
    dry_run: bool,
    /// Do it without asking.
    #[arg(long, short, conflicts_with = "dry_run")]
    yes: bool,
    /// Why, for the record that is kept of it.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// What came of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Yes,
    /// Only to be shown.
    DryRun,
    /// Nobody agreed.
    No,
}

impl Consent {
    /// Asks for what was shown on standard output.
    pub(super) fn answer(&self) -> Result<Answer> {
        let stdin = std::io::stdin();
        let terminal = stdin.is_terminal();
        self.ask(terminal, &mut stdin.lock(), &mut std::io::stdout())
    }

    fn ask(&self, terminal: bool, input: &mut impl BufRead, out: &mut impl Write) -> Result<Answer> {
        if self.dry_run {
            return Ok(Answer::DryRun);
        }
        if self.yes {
            return Ok(Answer::Yes);
        }
        if !terminal {
            eprintln!("nobody can be asked, since standard input is no terminal: say --yes to do it, or --dry-run");
            return Ok(Answer::No);
        }
        let failed = |error| Error::new(Kind::Bug, "the terminal cannot be used").because(error);
        write!(out, "do it? [y/N] ").and_then(|()| out.flush()).map_err(failed)?;
        let mut line = String::new();
        input.read_line(&mut line).map_err(failed)?;
        let agreed = matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes");
        Ok(if agreed { Answer::Yes } else { Answer::No })
    }

    /// Who acts, when and why.
    pub(super) fn sign(&self) -> Signature {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let user = variable("SUDO_USER").or_else(|| variable("USER")).or_else(|| variable("LOGNAME"));
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let mut at = String::new();
        let _infallible = SystemTime.format_time(&mut Writer::new(&mut at));
        let by = format!("{}@{}", user.as_deref().unwrap_or("unknown"), host.trim());
        Signature { by, at, reason: self.reason.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(dry_run: bool, yes: bool, typed: Option<&str>) -> Answer {
        let consent = Consent { dry_run, yes, reason: None };
        let mut out = Vec::new();
        consent.ask(typed.is_some(), &mut typed.unwrap_or_default().as_bytes(), &mut out).unwrap()
    }

    #[test]
    fn only_a_person_or_a_flag_agrees() {
        assert_eq!(ask(true, false, Some("y\n")), Answer::DryRun);
        assert_eq!(ask(false, true, None), Answer::Yes);
        assert_eq!(ask(false, false, None), Answer::No);
        for (typed, answer) in [("y\n", Answer::Yes), ("YES\n", Answer::Yes), ("\n", Answer::No), ("", Answer::No)] {
            assert_eq!(ask(false, false, Some(typed)), answer, "{typed:?}");
        }
    }

    #[test]
    fn an_act_is_signed() {
        let signed = Consent { dry_run: false, yes: true, reason: Some("r".to_owned()) }.sign();
        assert!(signed.by.contains('@') && signed.at.ends_with('Z') && signed.at.starts_with("20"), "{signed:?}");
    }
}
