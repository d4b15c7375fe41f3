//! The wall clock of a process under test, which the test sets (`wall_clock.c`): that of the machine is everybody's.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::process::run;
use super::{Context, Result};

pub(crate) struct WallClock {
    library: PathBuf,
    path: PathBuf,
    shared: File,
}

impl WallClock {
    /// Right at first, for whoever is started with its environment.
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        let (library, path) = (folder.join("wall_clock.so"), folder.join("wall_clock"));
        let mut compile = Command::new("cc");
        compile.args(["-std=c17", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread", "-shared", "-fPIC", "-o"]);
        compile.arg(&library).arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/wall_clock.c"));
        run(&mut compile)?;
        std::fs::write(&path, [0; 16]).context(path.display())?;
        let shared = File::options().read(true).write(true).open(&path)?;
        Ok(Self { library, path, shared })
    }

    pub(crate) fn environment(&self) -> Result<[(&'static str, &str); 2]> {
        let text = "the folder's name is no text";
        Ok([("LD_PRELOAD", self.library.to_str().ok_or(text)?), ("WALL_CLOCK", self.path.to_str().ok_or(text)?)])
    }

    /// Sets it: so many hours ahead of the machine's, or behind.
    pub(crate) fn set(&self, ahead_hours: i64) -> Result<()> {
        Ok(self.shared.write_all_at(&(ahead_hours * 3600).to_ne_bytes(), 0)?)
    }

    /// How many waits were under way when it was set.
    pub(crate) fn moved_waits(&self) -> Result<i64> {
        let mut moved = [0; 8];
        self.shared.read_exact_at(&mut moved, 8)?;
        Ok(i64::from_ne_bytes(moved))
    }
}
