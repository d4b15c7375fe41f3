//! Authentication: SCRAM-SHA-256, bound to the TLS channel where there is one (Postgres docs, "SASL Authentication").
//! Clear text and MD5 are refused: either would hand a usable credential to whoever answers (MD5 can be spelled out).
//! `channel` holds the SQL sessions to the same.

use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{
    ChannelBinding as Binding, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256,
};

use super::frame::put_message;
use super::refusal::{During, Refusal};
use super::session::{Message, Session, malformed, unexpected};
use super::settings::SourceSettings;
use super::tls;
use crate::error::{Error, Kind, Result};
use crate::model::{ChannelBinding, PasswordMethod, Security};

/// Answers the server's authentication requests until it says AuthenticationOk.
pub(super) fn authenticate(session: &mut Session, settings: &SourceSettings) -> Result<()> {
    let security = &settings.security;
    let end_point = session.wire().server_certificate().and_then(tls::server_end_point);
    check_binding(security, end_point.as_deref())?;
    let (code, data) = request(session, settings)?;
    match code {
        10 => sasl(session, settings, &data, end_point),
        5 if security.password_method == PasswordMethod::ScramSha256 => Err(unacceptable(5, &settings.user)),
        0 | 5 if security.channel_binding == ChannelBinding::Require => Err(unbound()),
        5 => md5(session, settings, &data),
        0 => Ok(()),
        other => Err(unacceptable(other, &settings.user)),
    }
}

/// That the login can be bound to the channel, where it must be. `end_point`: what it would be bound to.
pub(super) fn check_binding(security: &Security, end_point: Option<&[u8]>) -> Result<()> {
    match (security.channel_binding, end_point) {
        (ChannelBinding::Require, None) => Err(refused(
            "channel_binding = \"require\" has nothing to bind to: the connection is a Unix socket or plain text, or the \
             server's certificate is signed without a hash of its own (Ed25519, RSA-PSS)"
                .to_owned(),
        )),
        (ChannelBinding::Require, Some(_)) | (ChannelBinding::Prefer, _) => Ok(()),
    }
}

/// The error of a server that would let the login be unbound where it must not be.
pub(super) fn unbound() -> Error {
    refused(
        "the server does not bind the login to the TLS channel (SCRAM-SHA-256-PLUS), which channel_binding = \"require\" \
         asks for"
            .to_owned(),
    )
}

/// The error of a server that asks for a method that is not acceptable, by the method's code.
pub(super) fn unacceptable(method: i32, user: &str) -> Error {
    let asked = match method {
        3 => "clear text",
        5 => "md5",
        other => {
            return refused(format!("the server asks for authentication method {other}, which is not supported"));
        }
    };
    refused(format!(
        "the server asks user {user:?} for a {asked} password; \
         set scram-sha-256 in pg_hba.conf and set the password anew"
    ))
}

/// Postgres docs, "AuthenticationMD5Password": the salt is the request's data.
fn md5(session: &mut Session, settings: &SourceSettings, salt: &[u8]) -> Result<()> {
    let password = settings.password.as_ref().ok_or_else(|| password_missing(&settings.user))?;
    let salt = *salt.first_chunk().ok_or_else(|| malformed("authentication request"))?;
    let hash = md5_hash(settings.user.as_bytes(), password.reveal().as_bytes(), salt);
    let mut response = Vec::new();
    put_message(&mut response, b'p', &[hash.as_bytes(), &[0]]);
    session.send(&response)?;
    expect(session, settings, 0).map(drop)
}

fn sasl(session: &mut Session, settings: &SourceSettings, mechanisms: &[u8], end_point: Option<Vec<u8>>) -> Result<()> {
    let password = settings.password.as_ref().ok_or_else(|| password_missing(&settings.user))?;
    let (mechanism, binding) = choose(mechanisms, end_point)?;
    if settings.security.channel_binding == ChannelBinding::Require && mechanism != SCRAM_SHA_256_PLUS {
        return Err(unbound());
    }
    let mut scram = ScramSha256::new(password.reveal().as_bytes(), binding);

    let mut initial = Vec::new();
    let length = i32::try_from(scram.message().len()).unwrap_or(-1).to_be_bytes();
    put_message(&mut initial, b'p', &[mechanism.as_bytes(), &[0], &length, scram.message()]);
    session.send(&initial)?;
    let challenge = expect(session, settings, 11)?;
    scram.update(&challenge).map_err(untrusted)?;

    let mut response = Vec::new();
    put_message(&mut response, b'p', &[scram.message()]);
    session.send(&response)?;
    let proof = expect(session, settings, 12)?;
    // Only the server's own proof makes it the one that knows the password: an early AuthenticationOk is refused.
    scram.finish(&proof).map_err(untrusted)?;
    expect(session, settings, 0).map(drop)
}

/// The mechanism and the binding. Where the channel could be bound and the server does not offer it, SCRAM says so
/// under its proof, so that somebody between who removed the offer is found out.
fn choose(offered: &[u8], end_point: Option<Vec<u8>>) -> Result<(&'static str, Binding)> {
    let offers = |name: &str| offered.split(|byte| *byte == 0).any(|offer| offer == name.as_bytes());
    match end_point {
        Some(end_point) if offers(SCRAM_SHA_256_PLUS) => {
            Ok((SCRAM_SHA_256_PLUS, Binding::tls_server_end_point(end_point)))
        }
        Some(_) if offers(SCRAM_SHA_256) => Ok((SCRAM_SHA_256, Binding::unrequested())),
        None if offers(SCRAM_SHA_256) => Ok((SCRAM_SHA_256, Binding::unsupported())),
        _ => Err(without_scram()),
    }
}

/// The next authentication request: its code and data.
fn request(session: &mut Session, settings: &SourceSettings) -> Result<(i32, Vec<u8>)> {
    let Message { tag, body } = session.receive()?;
    match tag {
        b'R' => {
            let (code, data) = body.split_first_chunk().ok_or_else(|| malformed("authentication request"))?;
            Ok((i32::from_be_bytes(*code), data.to_vec()))
        }
        b'E' => Err(Refusal::parse(&body).into_error(During::Startup(&settings.user))),
        tag => Err(unexpected(tag)),
    }
}

fn expect(session: &mut Session, settings: &SourceSettings, wanted: i32) -> Result<Vec<u8>> {
    let (code, data) = request(session, settings)?;
    if code == wanted { Ok(data) } else { Err(malformed(&format!("authentication request {code}, not {wanted}"))) }
}

pub(super) fn password_missing(user: &str) -> Error {
    refused(format!("the server asks user {user:?} for a password and [source] password is not set"))
}

pub(super) fn without_scram() -> Error {
    refused("the server does not offer SCRAM-SHA-256".to_owned())
}

fn refused(detail: String) -> Error {
    Error::new(Kind::PostgresAuthentication, detail)
}

/// The error of a server whose part in SCRAM does not hold.
pub(super) fn untrusted(why: impl std::fmt::Display) -> Error {
    refused(format!("the server could not prove that it knows the password: {why}"))
}

#[cfg(test)]
mod tests;
