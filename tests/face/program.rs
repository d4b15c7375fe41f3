//! The program on the command line: help, exit codes, colours, completions, manual.

use std::process::{Command, Stdio};

use walwright::error::Kind;

use crate::support::Result;
use crate::support::daemon::BINARY;
use crate::support::scene::{Scene, WITHIN};

const COMMANDS: &[&str] =
    &["run", "check", "status", "grants", "accept-gap", "remove", "explain", "schemas", "completions", "man"];

fn said(arguments: &[&str]) -> Result<(Option<i32>, String)> {
    let output = Command::new(BINARY).args(arguments).output()?;
    Ok((output.status.code(), String::from_utf8(output.stdout)? + &String::from_utf8(output.stderr)?))
}

#[test]
fn help_names_every_command_and_the_exit_codes() -> Result<()> {
    let (code, help) = said(&["--help"])?;
    assert_eq!(code, Some(0));
    for command in COMMANDS {
        assert!(help.contains(&format!("\n  {command} ")), "{command}: {help}");
        assert_eq!(said(&[command, "--help"])?.0, Some(0), "{command}");
    }
    assert!(help.contains("Exit codes:\n  0  done\n") && help.contains("Examples:\n"), "{help}");
    Ok(())
}

#[test]
fn wrong_usage_and_a_missing_file_are_code_2() -> Result<()> {
    for arguments in [&["nonsense"][..], &["accept-gap"], &["remove", "oms", "--yes", "--dry-run"], &[]] {
        assert_eq!(said(arguments)?.0, Some(2), "{arguments:?}");
    }
    assert_eq!(said(&["check", "--config", "/nowhere/walwright.toml"])?.0, Some(2));
    let scene = Scene::new("unnamed")?;
    let unknown = scene.complaint(&["remove", "nobody"], 2)?;
    assert!(unknown.starts_with("error: configuration: no connector nobody; there is NAME\n"), "{unknown}");
    Ok(())
}

#[test]
fn every_kind_of_error_is_explained() -> Result<()> {
    for kind in Kind::ALL {
        let expected = format!("{kind}\n\n{}\n", kind.explanation());
        let arguments: Vec<&str> = kind.more().split(' ').skip(1).collect();
        assert_eq!(said(&arguments)?, (Some(0), expected));
    }
    let (code, all) = said(&["explain"])?;
    let listed = Kind::ALL.iter().all(|kind| all.contains(&format!("\n{} ", kind.name())));
    assert!(code == Some(0) && all.starts_with("# Errors\n") && listed, "{all}");
    let (code, unknown) = said(&["explain", "slot-ahed"])?;
    assert!(code == Some(2) && unknown.contains("'slot-ahead'"), "{unknown}");
    Ok(())
}

/// An error leads to its section wherever it is told: log, `/readyz` (as every test of a cause sees), `status`, `check`.
#[test]
fn an_error_leads_to_its_explanation() -> Result<()> {
    let scene = Scene::new("leads")?;
    scene.sql()?.batch(&format!("ALTER ROLE {} PASSWORD 'another'", scene.name))?;
    scene.push()?;
    let more = "walwright explain postgres-authentication";
    let told = on_a_terminal(&scene, "status", &[])?;
    assert!(told.contains(&format!("\n    more: {more}\r\n")), "{told:?}");
    let all: serde_json::Value = serde_json::from_slice(&scene.command(&["status", "--json"])?.stdout)?;
    let error = &all[0]["errors"][0];
    assert_eq!((&error["kind"], &error["more"]), (&"postgres-authentication".into(), &more.into()), "{all}");
    assert!(error["remedy"].is_string() && error["error"].is_string(), "{all}");
    let checked = String::from_utf8(scene.command(&["check", "--live"])?.stdout)?;
    assert!(checked.contains(&format!("\n       more: {more}\n")), "{checked}");
    let mut daemon = scene.launch()?;
    scene.cause(&mut daemon, "postgres-authentication", "retrying")?;
    daemon.wait_log(&format!("\"more\":\"{more}\""), WITHIN)
}

#[test]
fn bash_takes_the_completions() -> Result<()> {
    for shell in ["zsh", "fish"] {
        assert!(said(&["completions", shell])?.1.contains("accept-gap"), "{shell}");
    }
    let mut bash = Command::new("bash").arg("-n").stdin(Stdio::piped()).spawn()?;
    let script = said(&["completions", "bash"])?.1;
    assert!(script.contains("accept-gap"));
    std::io::Write::write_all(&mut bash.stdin.take().ok_or("bash has no input")?, script.as_bytes())?;
    assert!(bash.wait()?.success());
    Ok(())
}

#[test]
fn every_command_has_a_manual_page() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let target = folder.path().join("man1").display().to_string();
    assert_eq!(said(&["man", &target])?, (Some(0), String::new()));
    for command in COMMANDS {
        let page = std::fs::read_to_string(format!("{target}/walwright-{command}.1"))?;
        assert!(page.contains(".SH NAME"), "{page}");
    }
    assert!(std::fs::read_to_string(format!("{target}/walwright.1"))?.contains("Exit codes"));
    Ok(())
}

/// What a command says on a terminal.
fn on_a_terminal(scene: &Scene, command: &str, environment: &[(&str, &str)]) -> Result<String> {
    let command = format!("{BINARY} {command} --config {}", scene.folder.join("walwright.toml").display());
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &command, "/dev/null"]).stdin(Stdio::null());
    let output = script.env_remove("NO_COLOR").envs(environment.iter().copied()).output()?;
    assert!(output.status.success(), "{output:?}");
    Ok(String::from_utf8(output.stdout)?)
}

#[test]
fn colours_are_for_terminals_whose_user_wants_them() -> Result<()> {
    let scene = Scene::new("colours")?;
    scene.push()?;
    let check = |environment| on_a_terminal(&scene, "check --live", environment);
    assert!(check(&[])?.contains("\u{1b}[32mok"));
    assert!(check(&[("NO_COLOR", "")])?.contains("\u{1b}[32mok"), "an empty value says nothing");
    assert!(!check(&[("NO_COLOR", "1")])?.contains('\u{1b}'));
    assert!(!scene.says(&["check", "--live"])?.contains('\u{1b}'));
    Ok(())
}

#[test]
fn status_is_a_table_for_a_person() -> Result<()> {
    let scene = Scene::new("tabled")?;
    let table = on_a_terminal(&scene, "status", &[])?;
    assert!(table.starts_with("CONNECTOR  ") && table.contains(&format!("\n{} ", scene.name)), "{table}");
    assert!(on_a_terminal(&scene, "status --json", &[])?.starts_with('['));
    Ok(())
}
