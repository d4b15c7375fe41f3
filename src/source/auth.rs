//! Authentication: SCRAM-SHA-256, bound to the TLS channel where there is one (Postgres docs, "SASL Authentication").
//! Clear text and MD5 are refused: either would hand a usable credential to whoever answers. `channel` holds the SQL
//! sessions to the same.

use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256};

use super::frame::put_message;
use super::refusal::{During, Refusal};
use super::session::{Message, Session, malformed};
use super::settings::SourceSettings;
use super::tls;
use crate::error::{Error, Kind, Result};

/// Answers the server's authentication requests until it says AuthenticationOk.
pub(super) fn authenticate(session: &mut Session, settings: &SourceSettings) -> Result<()> {
    let (code, data) = request(session, settings)?;
    match code {
        0 => Ok(()),
        10 => sasl(session, settings, &data),
        other => Err(unacceptable(other, &settings.user)),
    }
}

/// The error of a server that asks for another method than SCRAM, by the method's code.
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

fn sasl(session: &mut Session, settings: &SourceSettings, mechanisms: &[u8]) -> Result<()> {
    let Some(password) = &settings.password else {
        return Err(password_missing(&settings.user));
    };
    let (mechanism, binding) = choose(session, mechanisms)?;
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
fn choose(session: &Session, offered: &[u8]) -> Result<(&'static str, ChannelBinding)> {
    let offers = |name: &str| offered.split(|byte| *byte == 0).any(|offer| offer == name.as_bytes());
    let end_point = session.wire().server_certificate().and_then(tls::server_end_point);
    match end_point {
        Some(end_point) if offers(SCRAM_SHA_256_PLUS) => {
            Ok((SCRAM_SHA_256_PLUS, ChannelBinding::tls_server_end_point(end_point)))
        }
        Some(_) if offers(SCRAM_SHA_256) => Ok((SCRAM_SHA_256, ChannelBinding::unrequested())),
        None if offers(SCRAM_SHA_256) => Ok((SCRAM_SHA_256, ChannelBinding::unsupported())),
        _ => Err(refused("the server does not offer SCRAM-SHA-256".to_owned())),
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
        tag => Err(malformed(&format!("message of type {:?} during authentication", char::from(tag)))),
    }
}

fn expect(session: &mut Session, settings: &SourceSettings, wanted: i32) -> Result<Vec<u8>> {
    let (code, data) = request(session, settings)?;
    if code == wanted { Ok(data) } else { Err(malformed(&format!("authentication request {code}, not {wanted}"))) }
}

pub(super) fn password_missing(user: &str) -> Error {
    refused(format!("the server asks user {user:?} for a password and [source] password is not set"))
}

fn refused(detail: String) -> Error {
    Error::new(Kind::PostgresAuthentication, detail)
}

fn untrusted(error: std::io::Error) -> Error {
    refused(format!("the server could not prove that it knows the password: {error}")).because(error)
}

#[cfg(test)]
mod tests;
