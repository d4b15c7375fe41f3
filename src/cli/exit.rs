//! Exit codes: the one list, which `--help` prints.

use std::process::ExitCode;

/// How a command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    Done,
    Failed,
    /// clap's own code for wrong usage.
    Faults,
    NotAgreed,
}

impl Exit {
    #[cfg(test)]
    const ALL: [Exit; 4] = [Exit::Done, Exit::Failed, Exit::Faults, Exit::NotAgreed];

    fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Faults => 2,
            Exit::NotAgreed => 3,
        }
    }

    /// Nobody agreed to what was shown.
    pub(super) fn not_agreed() -> Exit {
        eprintln!("nothing was done");
        Exit::NotAgreed
    }

    /// What was agreed to is no longer what would be done.
    pub(super) fn changed() -> Exit {
        eprintln!("what was shown has changed meanwhile, so nothing was done: call again");
        Exit::NotAgreed
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

/// For `--help` and the manual.
macro_rules! exit_codes {
    () => {
        "\
Exit codes:
  0  done
  1  failed: the message says what happened and what to do
  2  wrong usage, or faults in the configuration: all of them are listed
  3  nothing was done: nobody agreed, or what was agreed to has changed meanwhile"
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_is_listed_once() {
        let listed: Vec<&str> =
            exit_codes!().lines().skip(1).map(|line| line.trim_start().split(' ').next().unwrap()).collect();
        assert_eq!(listed, Exit::ALL.map(|exit| exit.code().to_string()));
    }
}
