//! TLS, client certificates, passwords, the rate limit and reloading, with real handshakes against a real server.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use axum::http::{StatusCode, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Empty;
use hyper::Request;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use pgbackrest_keeper::http::limits::ServerLimits;
use rustls::ClientConfig;
use rustls::version::{TLS12, TLS13};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::support::web::{
    Authority, HOUR, Issued, PATIENCE, Server, Session, ask, raw, rest, tls_client, tls_client_of,
    tls_connect,
};

/// A directory with a certificate for localhost, and the web configuration that uses it.
pub(crate) struct Site {
    pub(crate) directory: TempDir,
    pub(crate) authority: Authority,
}

const TLS: &str = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";

impl Site {
    pub(crate) fn new() -> Self {
        let site = Self { directory: TempDir::new().expect("directory"), authority: Authority::new() };
        site.write("ca.crt", &site.authority.certificate_pem());
        site.renew(&site.authority.issue(&["localhost"]));
        site
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::write(&path, text).expect("written");
        path
    }

    /// Gives the server another certificate, by rename as certificate tools do.
    fn renew(&self, issued: &Issued) {
        for (name, pem) in [("server.crt", &issued.certificate_pem), ("server.key", &issued.key_pem)] {
            let made = self.write(&format!("{name}.new"), pem);
            fs::rename(made, self.directory.path().join(name)).expect("renamed");
        }
    }

    /// Starts a server with this web configuration.
    pub(crate) async fn start(&self, web_config: &str) -> Server {
        Server::start(Some(&self.write("web.yml", web_config)), limits()).await
    }

    fn client(&self) -> ClientConfig {
        tls_client(&self.authority, None, &[])
    }
}

/// None is reached here, but files are looked at often.
fn limits() -> ServerLimits {
    ServerLimits {
        admission: HOUR,
        handshake: HOUR,
        idle: HOUR,
        request: HOUR,
        write_stall: HOUR,
        response: HOUR,
        drain: HOUR,
        config_check: Duration::from_millis(40),
        ..ServerLimits::default()
    }
}

async fn tls_session(address: SocketAddr, client: ClientConfig) -> std::io::Result<Session> {
    let stream = tls_connect(address, client).await?;
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let session = if http2 { Session::http2(stream).await } else { Session::http1(stream).await };
    session.map_err(std::io::Error::other)
}

/// Shakes hands and asks. With TLS 1.3 a client learns only by asking that its certificate was refused.
async fn is_let_in(address: SocketAddr, client: ClientConfig) -> bool {
    let Ok(mut session) = tls_session(address, client).await else { return false };
    session.ask("/metrics", &[]).await.is_ok_and(|answer| answer.status == StatusCode::OK)
}

/// The certificate that the server shows to a new connection.
async fn shown(address: SocketAddr, client: ClientConfig) -> Vec<u8> {
    let stream = tls_connect(address, client).await.expect("connected");
    stream.get_ref().1.peer_certificates().expect("certificate")[0].to_vec()
}

pub(crate) fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
}

pub(crate) fn user(name: &str, password: &str) -> String {
    format!("basic_auth_users:\n  {name}: {}\n", bcrypt::hash(password, 4).expect("hash"))
}

#[tokio::test]
async fn http1_and_http2_over_tls() {
    let site = Site::new();
    let server = site.start(TLS).await;
    for (alpn, version) in [
        (vec!["h2", "http/1.1"], Version::HTTP_2),
        (vec!["http/1.1"], Version::HTTP_11),
        (vec![], Version::HTTP_11),
    ] {
        let client = tls_client(&site.authority, None, &alpn);
        let mut session = tls_session(server.address, client).await.expect("session");
        for _ in 0..2 {
            let answer = session.ask("/metrics", &[]).await.expect("answer");
            assert_eq!((answer.status, answer.version), (StatusCode::OK, version));
        }
    }
    server.stop().await;
    let server = site.start(&format!("{TLS}http_server_config:\n  http2: false\n")).await;
    let client = tls_client(&site.authority, None, &["h2", "http/1.1"]);
    let answer = tls_session(server.address, client).await.expect("session").ask("/metrics", &[]).await;
    assert_eq!(answer.expect("answer").version, Version::HTTP_11);
    server.stop().await;
}

#[tokio::test]
async fn http2_requests_in_flight_are_answered_at_shutdown() {
    let site = Site::new();
    let server = site.start(TLS).await;
    let client = tls_client(&site.authority, None, &["h2"]);
    let mut session = tls_session(server.address, client).await.expect("session");
    let asked = tokio::spawn(async move { session.ask("/slow", &[]).await });
    server.until_working(1).await;
    server.stop_before_it_answers().await;
    assert_eq!(asked.await.expect("no panic").expect("answer").body, "done\n");
}

#[tokio::test]
async fn an_http2_client_that_stays_awake_but_does_not_read_loses_its_place() {
    let site = Site::new();
    let one = ServerLimits {
        connections: 1,
        response: Duration::from_secs(1),
        idle: Duration::from_secs(1),
        ..limits()
    };
    let server = Server::start(Some(&site.write("web.yml", TLS)), one).await;
    let stream =
        tls_connect(server.address, tls_client(&site.authority, None, &["h2"])).await.expect("connected");
    let (mut sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(1_000)
        .keep_alive_interval(Duration::from_millis(50))
        .handshake(TokioIo::new(stream))
        .await
        .expect("session");
    let awake = tokio::spawn(connection);
    let request = Request::get("https://localhost/large").body(Empty::<Bytes>::new()).expect("request");
    let unread = sender.send_request(request).await.expect("answer");
    // Whose connection may itself be closed if it rests for a second, as on a busy machine.
    let let_in = async { while !is_let_in(server.address, site.client()).await {} };
    timeout(PATIENCE, let_in).await.expect("another client is let in");
    drop(unread);
    assert!(awake.await.expect("no panic").is_err(), "the connection was cut");
    server.stop().await;
}

#[tokio::test]
async fn versions_and_suites_are_as_configured() {
    let site = Site::new();
    let with = |versions: &[&'static rustls::SupportedProtocolVersion]| {
        tls_client_of(&site.authority, None, &[], versions)
    };
    let server = site.start(TLS).await;
    assert!(is_let_in(server.address, with(&[&TLS12])).await);
    assert!(is_let_in(server.address, with(&[&TLS13])).await);
    server.stop().await;
    let server = site.start(&format!("{TLS}  min_version: TLS13\n")).await;
    assert!(!is_let_in(server.address, with(&[&TLS12])).await);
    assert!(is_let_in(server.address, with(&[&TLS13])).await);
    server.stop().await;
    let suites = "  max_version: TLS12\n  cipher_suites:\n  - TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384\n  - \
                  TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256\n  curve_preferences: [CurveP384]\n";
    let server = site.start(&format!("{TLS}{suites}")).await;
    assert!(!is_let_in(server.address, with(&[&TLS13])).await);
    let stream = tls_connect(server.address, with(&[&TLS12, &TLS13])).await.expect("connected");
    let agreed = stream.get_ref().1;
    let cipher = agreed.negotiated_cipher_suite().expect("suite").suite();
    assert_eq!(cipher, rustls::CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384);
    let group = agreed.negotiated_key_exchange_group().expect("group").name();
    assert_eq!(group, rustls::NamedGroup::secp384r1);
    server.stop().await;
}

#[tokio::test]
async fn a_handshake_that_stops_half_way_is_cut() {
    let site = Site::new();
    let short = ServerLimits { handshake: Duration::from_millis(300), ..limits() };
    let server = Server::start(Some(&site.write("web.yml", TLS)), short).await;
    assert_eq!(raw(server.address, b"").await, "");
    // The beginning of a ClientHello.
    assert_eq!(raw(server.address, &[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]).await, "");
    // A busy machine may need several tries to shake hands within that time.
    let let_in = async { while !is_let_in(server.address, site.client()).await {} };
    timeout(PATIENCE, let_in).await.expect("another client is let in");
    server.stop().await;
}

#[tokio::test]
async fn plain_http_to_a_tls_port_is_explained() {
    let site = Site::new();
    let server = site.start(TLS).await;
    let answer = ask(server.address, "/metrics", &[]).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(answer.body.contains("https://"), "{}", answer.body);
    server.stop().await;
}

#[tokio::test]
async fn client_certificates_are_asked_for_as_configured() {
    let site = Site::new();
    let known = site.authority.issue(&["scraper.example"]);
    let stranger = Authority::new().issue(&["scraper.example"]);
    let ca = "  client_ca_file: ca.crt\n";
    // Who is let in: nobody's certificate, a stranger's, a known one.
    let table = [
        ("NoClientCert", "", [true, true, true]),
        ("RequestClientCert", "", [true, true, true]),
        ("RequireAnyClientCert", "", [false, true, true]),
        ("RequireClientCert", "", [false, true, true]),
        ("VerifyClientCertIfGiven", ca, [true, false, true]),
        ("RequireAndVerifyClientCert", ca, [false, false, true]),
    ];
    for (kind, authority, expected) in table {
        let server = site.start(&format!("{TLS}  client_auth_type: {kind}\n{authority}")).await;
        for versions in [[&TLS12], [&TLS13]] {
            let mut seen = [false; 3];
            for (seen, own) in seen.iter_mut().zip([None, Some(&stranger), Some(&known)]) {
                let client = tls_client_of(&site.authority, own, &[], &versions);
                *seen = is_let_in(server.address, client).await;
            }
            assert_eq!(seen, expected, "{kind} with {:?}", versions[0].version);
        }
        server.stop().await;
    }
}

#[tokio::test]
async fn client_certificates_need_an_allowed_name() {
    let site = Site::new();
    let verify = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n";
    let names = "  client_allowed_sans: [scraper.example, 192.0.2.7]\n";
    let server = site.start(&format!("{TLS}{verify}{names}")).await;
    for (name, expected) in
        [("scraper.example", true), ("192.0.2.7", true), ("other.example", false), ("192.0.2.8", false)]
    {
        let own = site.authority.issue(&[name]);
        let client = tls_client(&site.authority, Some(&own), &[]);
        assert_eq!(is_let_in(server.address, client).await, expected, "{name}");
    }
    let foreign = Authority::new().issue(&["scraper.example"]);
    assert!(!is_let_in(server.address, tls_client(&site.authority, Some(&foreign), &[])).await);
    server.stop().await;
}

#[tokio::test]
async fn a_new_certificate_serves_new_connections_and_leaves_open_ones() {
    let site = Site::new();
    let server = site.start(TLS).await;
    let mut open = tls_session(server.address, site.client()).await.expect("session");
    assert_eq!(open.ask("/metrics", &[]).await.expect("answer").status, StatusCode::OK);
    let old = shown(server.address, site.client()).await;
    let renewed = site.authority.issue(&["localhost"]);
    site.renew(&renewed);
    server.config.reload().await.expect("good");
    let new = shown(server.address, site.client()).await;
    assert_ne!(new, old);
    assert_eq!(new, renewed.certificate().to_vec());
    assert_eq!(open.ask("/metrics", &[]).await.expect("answer").status, StatusCode::OK);
    server.stop().await;
}

#[tokio::test]
async fn changed_files_are_noticed() {
    let site = Site::new();
    let server = site.start(TLS).await;
    let renewed = site.authority.issue(&["localhost"]);
    site.renew(&renewed);
    let start = Instant::now();
    while shown(server.address, site.client()).await != renewed.certificate().to_vec() {
        assert!(start.elapsed() < PATIENCE, "the new certificate is not served");
        sleep(Duration::from_millis(20)).await;
    }
    // It may have been read between the two changes, and once more after both.
    let settled = async {
        loop {
            let last = server.config.last_reload();
            sleep(limits().config_check * 6).await;
            if server.config.last_reload() == last {
                return last;
            }
        }
    };
    let last = timeout(PATIENCE, settled).await.expect("what has not changed is not read again");
    assert!(last.error.is_none());
    server.stop().await;
}

#[tokio::test]
async fn a_wrong_file_changes_nothing_until_it_is_put_right() {
    let site = Site::new();
    let server = site.start(&format!("{TLS}{}", user("alice", "one"))).await;
    let alice = basic("alice", "one");
    let asked = async |path: &str, header: &str| {
        let mut session = tls_session(server.address, site.client()).await.expect("session");
        session.ask(path, &[("authorization", header)]).await.expect("answer").status
    };
    assert_eq!(asked("/metrics", &alice).await, StatusCode::OK);

    // A mistake in the file, one in a file that it names, and files that would open the door.
    let (users, key) = (user("alice", "two"), fs::read_to_string(site.directory.path().join("server.key")));
    let without_users =
        [TLS.to_owned(), format!("{TLS}basic_auth_users:\n"), format!("{TLS}basic_auth_users:")];
    let others = [format!("{TLS}{users}basic_auth_user:\n"), users.clone(), String::new()];
    for wrong in others.into_iter().chain(without_users) {
        site.write("web.yml", &wrong);
        let error = server.config.reload().await.expect_err("refused");
        assert_eq!(server.config.last_reload().error, Some(error));
        assert_eq!(asked("/metrics", &alice).await, StatusCode::OK);
        assert_eq!(asked("/metrics", &basic("alice", "two")).await, StatusCode::UNAUTHORIZED);
    }
    site.write("server.key", "no key");
    site.write("web.yml", &format!("{TLS}{users}"));
    let error = server.config.reload().await.expect_err("refused").to_string();
    assert!(error.contains("web.yml:3: tls_server_config.key_file"), "{error}");
    assert_eq!(asked("/metrics", &alice).await, StatusCode::OK);

    // Put right, it is taken up without being asked.
    site.write("server.key", &key.expect("made"));
    let start = Instant::now();
    while asked("/metrics", &basic("alice", "two")).await != StatusCode::OK {
        assert!(start.elapsed() < PATIENCE, "the repaired configuration is not in force");
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(asked("/metrics", &alice).await, StatusCode::UNAUTHORIZED);
    assert!(server.config.last_reload().error.is_none());
    server.stop().await;
}

#[tokio::test]
async fn a_handshake_with_no_end_does_not_delay_shutdown() {
    let site = Site::new();
    let server = site.start(TLS).await;
    let mut stream = TcpStream::connect(server.address).await.expect("connected");
    stream.write_all(&[22]).await.expect("written");
    sleep(Duration::from_millis(50)).await;
    server.stop().await;
    assert_eq!(rest(&mut stream).await, "");
}
