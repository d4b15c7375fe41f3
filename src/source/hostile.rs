//! Servers that say anything, for the fuzz target `wire` and for the property tests of `crate::hostile`.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::channel::{AsItIs, Channel, Login};
use super::replication::{Replication, parse_history};
use super::session::Session;
use super::tls::server_end_point;
use super::wire::Wire;
use super::{Frame, SourceSettings, StreamSettings};
use crate::error::Result;
use crate::model::{Lsn, Secret, Security, TargetSessionAttrs, TlsMode};

/// The most that a server says here: it is written before anybody reads, so the socket must hold it.
const SAID_BYTES_MAX: usize = 64 * 1024;
const PASSWORD: &str = "geheim";

fn settings() -> SourceSettings {
    SourceSettings {
        hosts: vec!["a.internal".to_owned()],
        target_session_attrs: TargetSessionAttrs::Primary,
        port: 5432,
        database: "oms".to_owned(),
        user: "walwright".to_owned(),
        password: Some(Secret::new(PASSWORD)),
        security: Security::from(TlsMode::Disable),
        slot: "s".to_owned(),
        publication: "p".to_owned(),
        connector: "oms".to_owned(),
    }
}

/// Our end of a connection, and that of a server which has said all that it ever will; it hangs up behind it.
fn connection(said: &[u8]) -> std::io::Result<(UnixStream, UnixStream)> {
    let (ours, mut theirs) = UnixStream::pair()?;
    theirs.write_all(said.get(..SAID_BYTES_MAX).unwrap_or(said))?;
    theirs.shutdown(Shutdown::Write)?;
    Ok((ours, theirs))
}

/// The whole of a replication connection, from the login to the end of the stream, whose buffers are so long. The server
/// hears no password, whatever it asks for.
pub(crate) fn replication(said: &[u8], buffer_bytes: usize) -> Result<()> {
    let Ok((ours, mut theirs)) = connection(said) else { return Ok(()) };
    let outcome = streamed(ours, said, buffer_bytes);
    let mut heard = Vec::new();
    // The client has hung up, so this ends.
    drop(theirs.read_to_end(&mut heard));
    assert!(
        !heard.windows(PASSWORD.len()).any(|window| window == PASSWORD.as_bytes()),
        "the server hears the password"
    );
    outcome
}

fn streamed(ours: UnixStream, said: &[u8], buffer_bytes: usize) -> Result<()> {
    let settings = settings();
    let mut session = Session::over(Wire::over(ours), "a.internal", 5432);
    session.log_in(&settings)?;
    let mut replication = Replication::on_target(session, &settings, "a.internal")?;
    replication.identify_system()?;
    replication.timeline_history(2)?;
    replication.create_slot("s", false, |waited| waited < Duration::from_secs(1))?;
    let stream = StreamSettings { buffer_bytes, buffers: 4, ..StreamSettings::default() };
    let stream = replication.start("s", Lsn(1), "p", &stream)?;
    let frames = stream.frames.iter().flat_map(|frames| frames.iter().map(size).collect::<Vec<_>>());
    let bytes: usize = frames.sum();
    assert!(bytes <= said.len(), "frames have more bytes than were said");
    Err(stream.finish())
}

fn size(frame: Frame<'_>) -> usize {
    match frame {
        Frame::Data { body, .. } => body.len(),
        Frame::Keepalive { .. } => 0,
    }
}

/// A SQL session's login and a query. The watch over the login says the same however the bytes are cut.
pub(crate) fn sql(said: &[u8], cut: usize) {
    let (mut whole, mut cut_up) = (Login::default(), Login::default());
    let mut pieces = said.chunks(cut.max(1)).map(|piece| cut_up.follow(piece));
    let answered = pieces.find(|answer| *answer != Ok(false)).unwrap_or(Ok(false));
    assert_eq!(whole.follow(said), answered, "cut into pieces of {cut}");

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let (Ok(runtime), Ok((ours, _theirs))) = (runtime, connection(said)) else { return };
    runtime.block_on(async {
        if ours.set_nonblocking(true).is_err() {
            return;
        }
        let Ok(ours) = tokio::net::UnixStream::from_std(ours) else { return };
        let login = super::sql::login(&settings());
        let Ok((client, connection)) = login.connect_raw(Channel::over(ours, None), AsItIs).await else { return };
        let query = async { drop(client.query("SELECT 1", &[]).await) };
        tokio::select! { _ended = connection => {}, () = query => {} }
    });
}

/// What is read of a server besides: its certificate and its timeline's history.
pub(crate) fn documents(bytes: &[u8]) {
    drop(server_end_point(bytes));
    drop(parse_history(&String::from_utf8_lossy(bytes)));
}
