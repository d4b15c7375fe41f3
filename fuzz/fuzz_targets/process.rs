#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use walwright::hostile::Files;

static FILES: LazyLock<(tempfile::TempDir, Files)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    let files = Files::new(folder.path());
    (folder, files)
});

fuzz_target!(|input: &[u8]| FILES.1.process(input));
