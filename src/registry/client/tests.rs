use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;

use super::*;

fn settings(url: String, timeout: Duration) -> Settings {
    let credentials = Some(Credentials::Basic { user: "user".to_owned(), password: Secret::new("p@ss") });
    Settings { url, credentials, ca: None, timeout }
}

/// Runs `test` against a listener that gives these answers in order, one a connection; returns what was asked.
fn asked(answers: &[(u16, &str)], test: impl FnOnce(Client)) -> Vec<String> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/apis/", listener.local_addr().unwrap());
    std::thread::scope(|scope| {
        let served = scope.spawn(|| answers.iter().map(|answer| serve(&listener, *answer)).collect());
        test(Client::new(&settings(url, Duration::from_secs(10))).unwrap());
        served.join().unwrap()
    })
}

fn serve(listener: &TcpListener, (status, body): (u16, &str)) -> String {
    let (mut stream, _) = listener.accept().unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if let Some((_, value)) = line.to_ascii_lowercase().split_once("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
        head.push_str(&line);
    }
    let mut request = vec![0; length];
    reader.read_exact(&mut request).unwrap();
    let length = body.len();
    write!(stream, "HTTP/1.1 {status} x\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}").unwrap();
    format!("{head}{}", String::from_utf8(request).unwrap())
}

#[test]
fn a_lookup_asks_once_and_sends_the_credentials() {
    let requests = asked(&[(200, r#"{"subject":"s","version":1,"id":258,"schema":"{}"}"#)], |client| {
        assert_eq!(client.lookup("oms.orders/ü-value", "{\"type\":\"long\"}").unwrap(), 258);
        assert_eq!(client.lookup("oms.orders/ü-value", "{\"type\":\"long\"}").unwrap(), 258);
        assert!(client.schema_uri(258).starts_with("http://127.0.0.1:"));
        assert!(client.schema_uri(258).ends_with("/apis/schemas/ids/258"));
    });
    let request = &requests[0];
    assert!(request.starts_with("POST /apis/subjects/oms.orders%2F%C3%BC-value HTTP/1.1\r\n"), "{request}");
    // user:p@ss
    assert!(request.contains("authorization: Basic dXNlcjpwQHNz\r\n"), "{request}");
    assert!(request.contains("content-type: application/vnd.schemaregistry.v1+json\r\n"), "{request}");
    assert!(request.ends_with(r#"{"schema":"{\"type\":\"long\"}"}"#), "{request}");
}

#[test]
fn registering_and_compatibility_have_paths_of_their_own() {
    let requests = asked(&[(200, r#"{"compatibility":"FULL_TRANSITIVE"}"#), (200, r#"{"id":3}"#)], |client| {
        client.set_compatibility("s", Compatibility::FullTransitive).unwrap();
        assert_eq!(client.register("s", "{}").unwrap(), 3);
        // What was registered need not be looked up.
        assert_eq!(client.lookup("s", "{}").unwrap(), 3);
    });
    assert!(requests[0].starts_with("PUT /apis/config/s HTTP/1.1\r\n"));
    assert!(requests[0].ends_with(r#"{"compatibility":"FULL_TRANSITIVE"}"#));
    assert!(requests[1].starts_with("POST /apis/subjects/s/versions HTTP/1.1\r\n"));
}

#[test]
fn a_compatibility_that_another_has_just_set_is_set_again() {
    let taken = r#"{"error_code":409,"message":"A rule named 'COMPATIBILITY' already exists."}"#;
    let requests = asked(&[(409, taken), (200, r#"{"compatibility":"FULL_TRANSITIVE"}"#)], |client| {
        client.set_compatibility("s", Compatibility::FullTransitive).unwrap();
    });
    assert_eq!(requests[0], requests[1]);
    asked(&[(409, taken), (409, taken)], |client| {
        let error = client.set_compatibility("s", Compatibility::FullTransitive).unwrap_err();
        assert_eq!(error.kind(), Kind::RegistryRefused);
    });
}

/// Faults: REG-04, REG-09.
#[test]
fn answers_are_told_apart() {
    for (status, body, kind, detail) in [
        (
            404,
            r#"{"error_code":40403,"message":"Schema not found"}"#,
            Kind::RegistryRefused,
            "registering the schema of subject s: the registry said: Schema not found; push it with walwright schemas push",
        ),
        (
            409,
            r#"{"error_code":409,"message":"incompatible: READER_FIELD_MISSING_DEFAULT_VALUE"}"#,
            Kind::RegistryRefused,
            "registering the schema of subject s: the registry said: incompatible: READER_FIELD_MISSING_DEFAULT_VALUE",
        ),
        (
            422,
            r#"{"error_code":42201,"message":"Invalid Avro schema"}"#,
            Kind::RegistryRefused,
            "registering the schema of subject s: the registry said: Invalid Avro schema",
        ),
        (
            401,
            "<html>no</html>",
            Kind::RegistryAuthorization,
            "registering the schema of subject s: the registry refused the credentials (401)",
        ),
        (
            500,
            r#"{"error_code":50003,"message":"leader not known"}"#,
            Kind::RegistryUnreachable,
            "registering the schema of subject s: the registry answered 500: leader not known",
        ),
        (
            503,
            "upstream",
            Kind::RegistryUnreachable,
            "registering the schema of subject s: what answers there is no schema registry: status 503, body 'upstream'",
        ),
        (
            404,
            "<html>\n</html>",
            Kind::RegistryUnreachable,
            "registering the schema of subject s: what answers there is no schema registry: status 404, body '<html></html>'",
        ),
        (
            302,
            "",
            Kind::RegistryUnreachable,
            "registering the schema of subject s: what answers there is no schema registry: status 302, body ''",
        ),
        (
            200,
            r#"{"id":-1}"#,
            Kind::RegistryUnreachable,
            "registering the schema of subject s: what answers there is no schema registry: status 200, body '{\"id\":-1}'",
        ),
    ] {
        asked(&[(status, body)], |client| {
            let error = client.register("s", "{}").unwrap_err();
            assert_eq!((error.kind(), error.detail()), (kind, detail));
        });
    }
}

/// Faults: REG-09.
#[test]
fn an_endless_answer_is_cut() {
    let long = format!("{{\"id\":1,\"x\":\"{}\"}}", "x".repeat(5 << 20));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::scope(|scope| {
        // The client hangs up in the middle, so writing may fail.
        scope.spawn(|| {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 64];
            stream.read_exact(&mut head).unwrap();
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{long}", long.len()).is_ok()
        });
        let client = Client::new(&settings(url, Duration::from_secs(10))).unwrap();
        assert_eq!(client.lookup("s", "{}").unwrap_err().kind(), Kind::RegistryUnreachable);
    });
}

/// Faults: REG-02.
#[test]
fn deadlines_and_refused_connections_are_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    // Connected by the kernel, never answered.
    let silent = Client::new(&settings(url.clone(), Duration::from_millis(50))).unwrap();
    let error = silent.lookup("s", "{}").unwrap_err();
    assert_eq!(error.kind(), Kind::RegistryUnreachable);
    assert!(error.detail().contains("timeout"), "{}", error.chain());
    drop(listener);
    let gone = Client::new(&settings(url, Duration::from_secs(5))).unwrap();
    assert_eq!(gone.lookup("s", "{}").unwrap_err().kind(), Kind::RegistryUnreachable);
}

#[test]
fn a_url_has_a_host_and_no_credentials() {
    assert_eq!(base("http://h:1/a/b/").unwrap(), "http://h:1/a/b");
    assert_eq!(base("http://h/a@b").unwrap(), "http://h/a@b");
    for (url, why) in [
        ("h:1", "http:// or https://"),
        ("ftp://h", "http:// or https://"),
        ("http:///a", "names no host"),
        ("http://u:secret@h", "must not have user and password in it"),
        ("http://u:secret@h?x", "query"),
    ] {
        let error = base(url).unwrap_err();
        assert_eq!(error.kind(), Kind::Configuration);
        assert!(error.detail().contains(why) && !error.detail().contains("secret"), "{url}: {error}");
    }
}

#[test]
fn credentials_become_a_header() {
    let basic = Credentials::Basic { user: "Aladdin".to_owned(), password: Secret::new("open sesame") };
    // RFC 7617, section 2; RFC 6750, section 2.1.
    assert_eq!(authorization(&basic), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    assert_eq!(authorization(&Credentials::Bearer { token: Secret::new("mF_9.B5f") }), "Bearer mF_9.B5f");
    assert!(!format!("{basic:?}").contains("sesame"));
    for (plain, expected) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
        assert_eq!(base64(plain.as_bytes()), expected);
    }
}

/// What comes of a lookup at a registry that answers with these bytes, and again and again with those.
fn answered(answer: &[u8], and_then: &[u8], pause: Duration) -> Error {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (over, is_over) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 64];
            stream.read_exact(&mut head).unwrap();
            let waits = |pause| is_over.recv_timeout(pause) == Err(std::sync::mpsc::RecvTimeoutError::Timeout);
            let mut alive = stream.write_all(answer).is_ok();
            while alive && !and_then.is_empty() {
                alive = stream.write_all(and_then).is_ok() && (pause.is_zero() || waits(pause));
            }
            // What of the request is not read would make a reset of the end, which may overtake the answer.
            drop(stream.shutdown(std::net::Shutdown::Write));
            drop(std::io::copy(&mut stream, &mut std::io::sink()));
        });
        let client = Client::new(&settings(url, Duration::from_secs(1))).unwrap();
        let outcome = client.lookup("s", "{}");
        drop((client, over));
        outcome.unwrap_err()
    })
}

/// Faults REG-02, REG-09.
#[test]
fn answers_that_are_none_are_waited_out() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    let megabytes = 100 << 20;
    let cases = [
        // A hundred megabytes, announced or not; a byte at a time, in the head and behind it; closed in the middle.
        (format!("{head}content-length: {megabytes}\r\n\r\n"), " ".repeat(1 << 16), Duration::ZERO),
        (format!("{head}transfer-encoding: chunked\r\n\r\n"), chunk, Duration::ZERO),
        (format!("{head}x: "), "x".to_owned(), Duration::from_millis(100)),
        (format!("{head}content-length: 1000\r\n\r\n"), " ".to_owned(), Duration::from_millis(100)),
        (format!("{head}content-length: 1000\r\n\r\n{{\"id\":"), String::new(), Duration::ZERO),
        (format!("{head}\r\n{}", "[".repeat(100_000)), String::new(), Duration::ZERO),
        ("HTTP/1.1 503 x\r\nretry-after: 86400\r\ncontent-length: 0\r\n\r\n".to_owned(), String::new(), Duration::ZERO),
        ("SSH-2.0-OpenSSH_9.2\r\n".to_owned(), String::new(), Duration::ZERO),
        (String::new(), String::new(), Duration::ZERO),
    ];
    for (answer, and_then, pause) in cases {
        let mut told = None;
        let counted =
            allocation_counter::measure(|| told = Some(answered(answer.as_bytes(), and_then.as_bytes(), pause)));
        let error = told.unwrap();
        assert_eq!(error.kind(), Kind::RegistryUnreachable, "{answer}: {}", error.chain());
        assert!(error.chain().len() < 1000 && !error.chain().contains("p@ss"), "{}", error.chain());
        assert!(counted.bytes_max < 32 << 20, "{answer}: {counted:?}");
    }
}

/// Faults REG-09.
#[test]
fn credentials_go_nowhere_else() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let location = format!("http://{}/subjects/s", elsewhere.local_addr().unwrap());
    for status in [301, 302, 303, 307, 308] {
        let answer = format!("HTTP/1.1 {status} x\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
        let error = answered(answer.as_bytes(), b"", Duration::ZERO);
        let told = format!(
            "looking up the schema of subject s: what answers there is no schema registry: status {status}, body ''"
        );
        assert_eq!((error.kind(), error.detail()), (Kind::RegistryUnreachable, told.as_str()));
        assert_eq!(elsewhere.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "{status}");
    }
}
