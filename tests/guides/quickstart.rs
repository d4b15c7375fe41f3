//! docs/quickstart.md, word by word: its files and commands are taken from the page.

use std::path::Path;
use std::process::Command;

use crate::support::daemon::BINARY;
use crate::support::process::{Farewell, Process, run};
use crate::support::scene::WITHIN;
use crate::support::stack::{Scenario, Stack};
use crate::support::{Context, Result, poll};

const STEPS: usize = 10;

/// A fenced block: the words behind the fence, then its lines.
struct Block {
    language: String,
    file: Option<String>,
    text: String,
}

fn blocks(page: &str) -> Vec<Block> {
    let parts: Vec<&str> = page.split("```").collect();
    let fenced = parts.iter().skip(1).step_by(2);
    let block = |part: &&str| {
        let (head, text) = part.split_once('\n').unwrap_or((part, ""));
        let (language, file) = head.split_once(' ').map_or((head, None), |(language, file)| (language, Some(file)));
        Block { language: language.to_owned(), file: file.map(str::to_owned), text: text.to_owned() }
    };
    fenced.map(block).collect()
}

/// A stranger with a shop, who edits what is to be edited.
struct Stranger {
    scenario: Scenario<'static>,
    /// What he has exported.
    password: String,
    replacements: Vec<(&'static str, String)>,
}

impl Stranger {
    fn new() -> Result<Self> {
        let stack = Stack::shared()?;
        let scenario = stack.scenario("quickstart")?;
        let (postgres, name) = (stack.postgres.address(), scenario.name.clone());
        let replacements = vec![
            ("host=db.example.com port=5432 dbname=shop user=postgres", stack.postgres.connection(&name)),
            ("shop on db.example.com", format!("{name} on {}", postgres.ip())),
            ("db.example.com", postgres.ip().to_string()),
            ("port = 5432", format!("port = {}", postgres.port())),
            ("database = \"shop\"", format!("database = \"{name}\"")),
            ("http://registry.example.com:8081", stack.registry.url()),
            ("kafka.example.com:9092", stack.kafka.bootstrap()),
            // Roles, slots and topics are the server's, which other tests share.
            ("\"walwright\"", format!("\"{name}_role\"")),
            ("ROLE walwright ", format!("ROLE {name}_role ")),
            ("walwright_shop", format!("{name}_shop")),
            ("sales.orders", format!("{name}.orders")),
        ];
        Ok(Self { scenario, password: String::new(), replacements })
    }

    fn edited(&self, text: &str) -> String {
        self.replacements.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
    }

    fn shell(&self, command: &str) -> Result<Command> {
        let folders = [Path::new(BINARY).parent(), Stack::shared()?.postgres.program("psql").parent()]
            .map(|folder| folder.unwrap_or(Path::new("/")).display().to_string());
        let path = format!("{}:{}", folders.join(":"), std::env::var("PATH")?);
        let mut bash = Command::new("bash");
        bash.args(["-euo", "pipefail", "-c", &self.edited(command)]).current_dir(&self.scenario.folder);
        bash.env("PATH", path).env("SHOP_PASSWORD", &self.password).env("WALWRIGHT_ADMIN__LISTEN", "127.0.0.1:0");
        Ok(bash)
    }

    fn does(&self, command: &str) -> Result<String> {
        run(&mut self.shell(command)?)
    }
}

#[test]
fn the_files_of_the_page_are_those_of_the_example() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let blocks = blocks(&std::fs::read_to_string(root.join("docs/quickstart.md"))?);
    let files: Vec<_> = blocks.iter().filter_map(|block| Some((block.file.as_ref()?, &block.text))).collect();
    assert_eq!(files.len(), 3);
    for (file, text) in files {
        assert_eq!(&std::fs::read_to_string(root.join("examples/shop").join(file)).context(file)?, text, "{file}");
    }
    let meta = "schemas/common/EventMeta/v1.avsc";
    assert_eq!(
        std::fs::read_to_string(root.join(meta))?,
        std::fs::read_to_string(root.join("examples/shop").join(meta))?
    );
    Ok(())
}

#[test]
fn the_first_event_is_there_after_ten_steps() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/quickstart.md"))?;
    let steps = page.lines().filter(|line| line.starts_with("**") && line.contains(".** ")).count();
    assert_eq!(steps, STEPS);
    let blocks = blocks(&page);
    let of = |language: &str| {
        blocks.iter().filter(|block| block.language == language).map(|block| block.text.trim_end()).collect::<Vec<_>>()
    };
    let ([create, insert], [install, password, grants, push, check, start, read]) = (&of("sql")[..], &of("sh")[..])
    else {
        return Err("the page has other blocks than this test knows".into());
    };
    let [pushed, checked, seen] = &of("text")[..] else { return Err("the page shows other outputs".into()) };

    let mut stranger = Stranger::new()?;
    stranger.scenario.sql()?.batch(create)?;
    assert_eq!(*install, "make install && cd examples/shop");
    assert!(std::fs::read_to_string(root.join("Makefile"))?.contains("\ninstall: "));
    run(Command::new("cp").arg("-r").arg(root.join("examples/shop/.")).arg(&stranger.scenario.folder))?;
    for block in &blocks {
        if let Some(file) = &block.file {
            std::fs::write(stranger.scenario.folder.join(file), stranger.edited(&block.text))?;
        }
    }
    stranger.password = stranger.does(&format!("{password}; echo -n $SHOP_PASSWORD"))?;
    assert_eq!(stranger.password.len(), 32);
    assert_eq!(stranger.does(grants)?, "");
    assert_eq!(shape(&stranger.does(push)?), shape(&stranger.edited(pushed)));
    assert_eq!(shape(&stranger.does(check)?), shape(&stranger.edited(checked)));

    let log = Stack::shared()?.sandbox.log("quickstart")?;
    let mut daemon = Process::spawn("quickstart", stranger.shell(&format!("exec {start}"))?, &log, Farewell::Kill)?;
    daemon.ready(WITHIN, || Ok(std::fs::read_to_string(&log)?.contains("streaming").then_some(())))?;
    stranger.scenario.sql()?.batch(insert)?;
    let found = poll(WITHIN, || Ok(Some(stranger.does(read)?).filter(|said| !said.is_empty())))?;
    let found = found.ok_or_else(|| daemon.fault("has published nothing"))?;
    assert_eq!(shape(&found), shape(&stranger.edited(seen)));
    Ok(())
}

/// Without what differs from run to run: system identifiers, positions and ids.
fn shape(text: &str) -> String {
    let words = text.split([' ', '\n']).filter(|word| !word.is_empty());
    let shape = words.map(|word| match word.split_once(":0:0/") {
        Some((before, after)) => format!("{before}:0:LSN:{}", after.split_once(':').map_or("", |(_, after)| after)),
        None if word.trim_end_matches(',').chars().all(|char| char.is_ascii_digit()) => "N".to_owned(),
        None if word.starts_with("0/") => "LSN".to_owned(),
        None => word.to_owned(),
    });
    shape.collect::<Vec<_>>().join(" ")
}
