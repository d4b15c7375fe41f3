//! The reader against a server that the test plays, over a socket pair.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::super::Frame;
use super::super::frame::{HEADER_BYTES, MESSAGE_BYTES_MAX, message, put_message};
use super::*;

const SOON: Duration = Duration::from_secs(10);

/// The server's end. Reads fail after `SOON`, so that a missing answer fails the test.
struct Server {
    socket: UnixStream,
    received: Vec<u8>,
}

#[derive(Debug, PartialEq)]
struct Status {
    confirmed: Lsn,
    reply_requested: bool,
}

impl Server {
    fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).unwrap();
    }

    /// The next message of the client's.
    fn message(&mut self) -> (u8, Vec<u8>) {
        loop {
            if let Some((tag, body, total)) = message(&self.received, 1024).unwrap() {
                let message = (tag, body.to_vec());
                self.received.drain(..total);
                return message;
            }
            let mut chunk = [0; 256];
            let count = self.socket.read(&mut chunk).unwrap();
            assert_ne!(count, 0, "the client hung up");
            self.received.extend(&chunk[..count]);
        }
    }

    /// The next message, which must be a status update with one position in all three places.
    fn status(&mut self) -> Status {
        let (tag, body) = self.message();
        assert_eq!((tag, body.len(), body[0]), (b'd', 34, b'r'), "{body:?}");
        assert!(body[1..9] == body[9..17] && body[1..9] == body[17..25], "{body:?}");
        Status { confirmed: Lsn(u64::from_be_bytes(body[1..9].try_into().unwrap())), reply_requested: body[33] == 1 }
    }
}

fn settings() -> StreamSettings {
    StreamSettings { status_interval: Duration::from_secs(60), ..StreamSettings::default() }
}

fn start(settings: &StreamSettings, received: &[u8]) -> (Stream, Server) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    theirs.set_read_timeout(Some(SOON)).unwrap();
    theirs.set_write_timeout(Some(SOON)).unwrap();
    let stream = Stream::spawn(Wire::over(ours), received, Lsn(100), "pub", settings).unwrap();
    (stream, Server { socket: theirs, received: Vec::new() })
}

fn data(lsn: u64, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_message(&mut out, b'd', &[b"w", &lsn.to_be_bytes(), &lsn.to_be_bytes(), &lsn.to_be_bytes(), body]);
    out
}

fn keepalive(wal_end: u64, reply_requested: bool) -> Vec<u8> {
    let mut out = Vec::new();
    put_message(&mut out, b'd', &[b"k", &wal_end.to_be_bytes(), &[0; 8], &[u8::from(reply_requested)]]);
    out
}

fn error(sqlstate: &str, text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    put_message(&mut out, b'E', &[format!("SFATAL\0C{sqlstate}\0M{text}\0\0").as_bytes()]);
    out
}

/// Takes data frames until there are `count`: their positions and bodies.
fn take(stream: &Stream, count: usize) -> Vec<(Lsn, Vec<u8>)> {
    let mut taken = Vec::new();
    while taken.len() < count {
        for frame in &stream.frames.recv_timeout(SOON).unwrap() {
            if let Frame::Data { wal_start, body, .. } = frame {
                taken.push((wal_start, body.to_vec()));
            }
        }
    }
    taken
}

/// The frames that are left when the stream has ended, and why it ended.
fn end(stream: Stream) -> (usize, Error) {
    let frames = stream.frames.iter().map(|frames| frames.iter().count()).sum();
    (frames, stream.finish())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// Faults: PG-08.
    #[test]
    fn frames_arrive_whole_and_in_order_however_the_bytes_come(
        lengths in prop::collection::vec(0usize..300, 1..40),
        cuts in prop::collection::vec(1usize..8, 1..20),
        early in 0usize..60,
        buffer_bytes in 1usize..200,
        buffers in 2usize..5,
    ) {
        let expected: Vec<_> = lengths.iter().zip(1..).map(|(len, lsn)| (Lsn(lsn), vec![b'x'; *len])).collect();
        let bytes: Vec<u8> = expected.iter().flat_map(|(lsn, body)| data(lsn.0, body)).collect();
        let (received, rest) = bytes.split_at(early.min(bytes.len()));
        let (stream, mut server) = start(&StreamSettings { buffer_bytes, buffers, ..settings() }, received);
        let (mut rest, mut cuts) = (rest.to_vec(), cuts.into_iter().cycle());
        let sender = std::thread::scope(|scope| {
            let sending = scope.spawn(|| {
                while !rest.is_empty() {
                    let chunk: Vec<u8> = rest.drain(..cuts.next().unwrap().min(rest.len())).collect();
                    server.send(&chunk);
                }
            });
            let taken = take(&stream, expected.len());
            sending.join().unwrap();
            taken
        });
        prop_assert_eq!(sender, expected);
        prop_assert_eq!(stream.received_wal_end(), Lsn(100.max(lengths.len() as u64)));
    }
}

#[test]
fn status_goes_on_while_nobody_takes_the_frames() {
    let interval = Duration::from_millis(20);
    let (stream, mut server) =
        start(&StreamSettings { status_interval: interval, buffer_bytes: 1024, buffers: 2, ..settings() }, &[]);
    // Far more than two buffers and the socket hold.
    server.socket.set_nonblocking(true).unwrap();
    let message = data(500, &[b'x'; 500]);
    while server.socket.write(&message).is_ok_and(|count| count == message.len()) {}
    server.socket.set_nonblocking(false).unwrap();

    let since = Instant::now();
    for _ in 0..5 {
        assert_eq!(server.status(), Status { confirmed: Lsn(100), reply_requested: false });
    }
    assert!(since.elapsed() >= interval * 3, "status is a clock, not a flood: {:?}", since.elapsed());
    stream.confirm(Lsn(300));
    while server.status().confirmed != Lsn(300) {}
    assert!(!stream.frames.is_empty(), "nothing was dropped");
}

#[test]
fn a_question_is_answered_at_once_with_what_is_confirmed_and_nothing_else() {
    let (stream, mut server) = start(&settings(), &[]);
    server.send(&data(900, b"B"));
    server.send(&keepalive(1000, true));
    assert_eq!(server.status(), Status { confirmed: Lsn(100), reply_requested: false });
    assert_eq!(stream.received_wal_end(), Lsn(1000));
    // A server that wants to stop waits for exactly this.
    stream.confirm(Lsn(1000));
    stream.confirm(Lsn(50));
    assert_eq!(server.status(), Status { confirmed: Lsn(1000), reply_requested: false });
}

#[test]
fn progress_is_reported_within_about_a_second() {
    let (stream, mut server) = start(&settings(), &[]);
    let since = Instant::now();
    stream.confirm(Lsn(200));
    assert_eq!(server.status(), Status { confirmed: Lsn(200), reply_requested: false });
    assert!(since.elapsed() < Duration::from_secs(5), "not with the interval: {:?}", since.elapsed());
}

#[test]
fn a_silent_server_is_asked_before_it_is_given_up() {
    let receive_timeout = Duration::from_secs(2);
    let (stream, mut server) = start(&StreamSettings { receive_timeout, ..settings() }, &[]);
    assert_eq!(server.status(), Status { confirmed: Lsn(100), reply_requested: true });
    server.send(&keepalive(100, false));
    // An answered question keeps the connection; an unanswered one ends it.
    assert_eq!(server.status(), Status { confirmed: Lsn(100), reply_requested: true });
    let (frames, error) = end(stream);
    assert_eq!((frames, error.kind()), (1, Kind::PostgresUnreachable));
    assert!(error.detail().starts_with("the replication connection broke: the server has said nothing for"), "{error}");
}

/// A server that is busy with changes that are not published hears only some of the updates: whichever it is must ask.
#[test]
fn a_silent_server_is_asked_with_each_update() {
    let status_interval = Duration::from_millis(20);
    let (_stream, mut server) = start(&StreamSettings { status_interval, ..settings() }, &[]);
    for _ in 0..5 {
        assert_eq!(server.status(), Status { confirmed: Lsn(100), reply_requested: true });
    }
}

#[test]
fn what_was_received_before_the_servers_error_is_handed_over_first() {
    let (stream, mut server) = start(&settings(), &[]);
    server.send(&[data(7, b"B"), error("42704", "publication \"pub\" does not exist"), data(8, b"C")].concat());
    let (frames, error) = end(stream);
    assert_eq!(frames, 1);
    assert!(error.to_string().starts_with("publication-missing: the publication \"pub\" did not exist "), "{error}");
}

#[test]
fn every_other_end_has_its_kind() {
    let ended = |bytes: &[u8]| {
        let (stream, mut server) = start(&settings(), &[]);
        server.send(bytes);
        drop(server);
        end(stream).1
    };
    let mut goodbye = Vec::new();
    put_message(&mut goodbye, b'c', &[]);
    assert_eq!(ended(&goodbye).kind(), Kind::PostgresNotReady);
    assert_eq!(ended(&error("57P01", "terminating connection")).kind(), Kind::PostgresNotReady);
    assert_eq!(ended(&data(1, b"B")[..20]).kind(), Kind::PostgresUnreachable);
    for hostile in [&[b'd', 0, 0, 0, 3][..], b"d\xFF\xFF\xFF\xFF", b"d\0\0\0\x05x", b"?\0\0\0\x04", b"d\0\0\0\x06wx"] {
        assert_eq!(ended(hostile).kind(), Kind::Protocol, "{hostile:?}");
    }
}

#[test]
fn a_clean_stop_reports_a_last_time_and_says_goodbye() {
    let (stream, mut server) = start(&settings(), &[]);
    server.send(&data(900, b"B"));
    take(&stream, 1);
    let stopping = std::thread::scope(|scope| {
        let stopping = scope.spawn(|| stream.stop(Some(Lsn(800))));
        assert_eq!(server.status(), Status { confirmed: Lsn(800), reply_requested: false });
        assert_eq!(server.message(), (b'c', Vec::new()));
        // The server may still be in the middle of something, and says good-bye after it.
        let mut rest = data(950, &vec![b'x'; 500_000]);
        put_message(&mut rest, b'c', &[]);
        put_message(&mut rest, b'C', &[b"COPY 0\0"]);
        server.send(&rest);
        assert_eq!(server.message(), (b'X', Vec::new()));
        stopping.join().unwrap()
    });
    stopping.unwrap();
}

#[test]
fn a_dropped_stream_ends_its_thread() {
    let (stream, mut server) = start(&settings(), &[]);
    server.send(&data(900, b"B"));
    let kept = stream.frames.recv_timeout(SOON).unwrap();
    drop(stream);
    assert_eq!(server.socket.read(&mut [0; 64]).unwrap(), 0, "the socket is closed");
    assert_eq!(kept.iter().count(), 1, "a buffer outlives its stream");
}

#[test]
fn a_long_message_costs_memory_only_as_it_comes() {
    let (stream, mut server) = start(&StreamSettings { buffer_bytes: 64, buffers: 2, ..settings() }, &[]);
    let long = data(1, &vec![b'x'; 3_000_000]);
    std::thread::scope(|scope| {
        scope.spawn(|| server.send(&long));
        let frames = stream.frames.recv_timeout(SOON).unwrap();
        assert_eq!((frames.bytes(), frames.iter().count()), (long.len(), 1));
    });
    server.send(&data(2, b""));
    assert_eq!(take(&stream, 1), [(Lsn(2), Vec::new())]);
    // A length that is only claimed is no reason to make room.
    assert!(message(&[&[b'd', 0x3F, 0, 0, 0][..], b"w"].concat(), MESSAGE_BYTES_MAX).unwrap().is_none());
    assert_eq!(HEADER_BYTES, 5);
}
