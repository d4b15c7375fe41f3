//! The program on the command line: help, exit codes, colours, completions, manual.

use std::process::{Command, Stdio};

use crate::support::Result;
use crate::support::daemon::BINARY;
use crate::support::scene::Scene;

const COMMANDS: &[&str] =
    &["run", "check", "status", "grants", "accept-gap", "remove", "schemas", "completions", "man"];

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
