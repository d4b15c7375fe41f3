//! Several hosts: which is taken, and what is said where none is.

use std::net::{Ipv4Addr, SocketAddr};

use walwright::model::{TargetSessionAttrs, TlsMode};
use walwright::source::{SourceSettings, Sql};

use super::{refusal, settings};
use crate::support::postgres::{Options, Postgres, SUPERUSER, Stop};
use crate::support::proxy::Proxy;
use crate::support::sandbox::Sandbox;
use crate::support::stack::Stack;
use crate::support::{Result, runtime};

/// A server's front on an address of its own, so that several have the same port.
fn front(port: u16, server: &Postgres) -> Result<(Proxy, String)> {
    let address: Ipv4Addr = Sandbox::new()?.address();
    Ok((Proxy::start(SocketAddr::from((address, port)), server.address())?, address.to_string()))
}

#[test]
fn the_first_host_that_is_as_asked_for_is_taken() -> Result<()> {
    let stack = Stack::shared()?;
    let mut primary = Postgres::start(&stack.sandbox, Options::default())?;
    primary.stop(Stop::Fast)?;
    let mut standby = primary.copy()?;
    primary.restart()?;
    standby.follow(&primary)?;
    standby.restart()?;

    let port = primary.address().port();
    let (_behind, first) = front(port, &primary)?;
    let (_standing_by, second) = front(port, &standby)?;
    let nobody = Sandbox::new()?.address().to_string();
    let asked = |hosts: &[&String], target_session_attrs| {
        let hosts = hosts.iter().map(|host| (*host).clone()).collect();
        SourceSettings { hosts, target_session_attrs, ..settings(&primary, TlsMode::Disable) }
    };
    let any = asked(&[&nobody, &second, &first], TargetSessionAttrs::Primary);
    assert_eq!(refusal(&any)?, None);
    assert_eq!(runtime()?.block_on(Sql::connect(&any))?.host(), first);
    assert_eq!(refusal(&asked(&[&second, &first], TargetSessionAttrs::ReadWrite))?, None);
    let none = refusal(&asked(&[&second, &nobody], TargetSessionAttrs::Primary))?.unwrap_or_default();
    assert_eq!(
        none,
        format!(
            "postgres-not-ready: no host is a primary that accepts connections: {second} is a standby, a primary is \
             needed; no connection to {nobody}:{port}: Connection refused (os error 111)"
        )
    );

    // A primary that is being retired: it is one still, and writes are kept off.
    primary.sql(SUPERUSER)?.batch("ALTER SYSTEM SET default_transaction_read_only = on")?;
    primary.sql(SUPERUSER)?.batch("SELECT pg_reload_conf()")?;
    assert_eq!(refusal(&asked(&[&second, &first], TargetSessionAttrs::Primary))?, None);
    let retired = refusal(&asked(&[&first], TargetSessionAttrs::ReadWrite))?.unwrap_or_default();
    assert_eq!(
        retired,
        format!("postgres-not-ready: {first} has default_transaction_read_only on, read-write is asked for")
    );
    Ok(())
}
