//! `grants`: every scene's role is made by it. What it grants is enough (the other tests), and nothing of it is too much:
//! without any one of them the connector says which one is missing, and goes on when it is back.

use std::process::{Command, Stdio};

use super::database::halts;
use crate::support::Result;
use crate::support::scene::{Scene, WITHIN};
use crate::support::stack::Stack;

#[test]
fn the_statements_are_these_and_psql_takes_them_twice() -> Result<()> {
    let scene = Scene::new("grants")?;
    let said = scene.says(&["grants", &scene.name])?;
    assert!(
        said.contains("\nALTER ROLE \"NAME\" LOGIN REPLICATION;\nGRANT CONNECT ON DATABASE \"NAME\" TO \"NAME\";\n"),
        "{said}"
    );
    assert!(
        said.contains("EXECUTE 'CREATE PUBLICATION \"walwright_NAME\" FOR TABLE \"public\".\"orders\"';"),
        "{said}"
    );
    assert_eq!(scene.says(&["grants"])?, said, "there is one connector");
    let postgres = &Stack::shared()?.postgres;
    let statements = scene.command(&["grants", &scene.name])?.stdout;
    for _ in 0..2 {
        let mut psql = Command::new(postgres.program("psql"));
        psql.args(["--no-psqlrc", "--set", "ON_ERROR_STOP=1", "--dbname", &postgres.connection(&scene.name)]);
        let mut psql = psql.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
        std::io::Write::write_all(&mut psql.stdin.take().ok_or("psql has no input")?, &statements)?;
        assert!(psql.wait()?.success());
    }
    Ok(())
}

#[test]
fn a_password_that_nobody_has_yet_is_not_asked_for() -> Result<()> {
    let scene = Scene::new("nosecret")?;
    scene.connector("../password", "../nothing")?;
    scene.connector("tls = ", "tls_cert = \"../nobodys.crt\"\ntls_key = { file = \"../nobodys.key\" }\ntls = ")?;
    scene.says(&["grants", &scene.name]).map(drop)
}

#[test]
fn without_the_right_to_connect() -> Result<()> {
    let scene = Scene::new("noconnect")?;
    scene.sql()?.batch(&format!("REVOKE CONNECT ON DATABASE {0} FROM {0}", scene.name))?;
    assert_eq!(
        halts(&scene, "permission")?,
        "permission: the server said: permission denied for database \"NAME\"; run GRANT CONNECT ON DATABASE \"NAME\" TO \"NAME\" (connector NAME)"
    );
    Ok(())
}

#[test]
fn without_the_right_to_log_in() -> Result<()> {
    let scene = Scene::new("nologin")?;
    scene.sql()?.batch(&format!("ALTER ROLE {} NOLOGIN", scene.name))?;
    scene.push()?;
    let mut daemon = scene.launch()?;
    assert_eq!(
        scene.cause(&mut daemon, "postgres-authentication", "retrying")?,
        "postgres-authentication: the server said: role \"NAME\" is not permitted to log in; run ALTER ROLE \"NAME\" LOGIN (connector NAME)"
    );
    scene.sql()?.batch(&format!("ALTER ROLE {} LOGIN", scene.name))?;
    daemon.wait_ready(WITHIN)?;
    scene.finish(daemon)
}
