//! Commands in pods, with a peer that implements the protocol of the API server and disconnects as real ones have done.

mod following;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use pgbackrest_keeper::kubernetes::client::CallFailure;
use pgbackrest_keeper::kubernetes::exec::{End, Exec, ExecError, Output, exec};
use pgbackrest_keeper::memory::ReadError;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

use crate::support::fake_api::{Answer, FakeApi, client};
use crate::support::web::PATIENCE;

const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;
const V5: &str = "v5.channel.k8s.io";
const V4: &str = "v4.channel.k8s.io";
/// More than every buffer between the peer and the caller.
const LONG: usize = 2_000_000;

type Socket = WebSocketStream<TcpStream>;

/// A peer that takes one connection, and is told apart by what it does then.
struct Peer {
    address: SocketAddr,
    asked: oneshot::Receiver<String>,
    task: JoinHandle<()>,
}

impl Peer {
    async fn start<F>(protocol: &'static str, behave: impl FnOnce(Socket) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, asked) = oneshot::channel();
        let task = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            #[expect(clippy::result_large_err, reason = "the signature is the library's")]
            let choose = |request: &Request, mut response: Response| {
                let offered = request.headers()["sec-websocket-protocol"].to_str().unwrap();
                assert!(offered.split(", ").any(|offer| offer == protocol), "{offered}");
                tell.send(request.uri().to_string()).unwrap();
                response.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(protocol));
                Ok(response)
            };
            behave(accept_hdr_async(stream, choose).await.unwrap()).await;
        });
        Self { address, asked, task }
    }
}

async fn say(socket: &mut Socket, channel: u8, bytes: &[u8]) {
    // The caller has enough and goes away.
    let _ = socket.send(Message::binary([&[channel], bytes].concat())).await;
}

async fn end(socket: &mut Socket, status: &Value) {
    say(socket, STATUS, status.to_string().as_bytes()).await;
}

fn success() -> Value {
    json!({"metadata": {}, "status": "Success"})
}

/// As the kubelet tells it.
fn exit_code(code: &str) -> Value {
    json!({"metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
        "message": format!("command terminated with non-zero exit code: error executing command, exit code {code}"),
        "details": {"causes": [{"reason": "ExitCode", "message": code}]}})
}

fn internal_error(message: &str) -> Value {
    json!({"metadata": {}, "status": "Failure", "reason": "InternalError", "code": 500, "message": message,
        "details": {"causes": [{"message": message}]}})
}

async fn run_within(
    address: SocketAddr,
    deadline: Duration,
    most_output: usize,
) -> Result<Output, ExecError> {
    let command = ["pgbackrest".to_owned(), "info".to_owned(), "--output=json".to_owned()];
    let exec_options = Exec {
        namespace: "shop",
        pod: "orders-0",
        container: "postgres",
        command: &command,
        deadline,
        most_output,
    };
    let client = client(address).await;
    timeout(PATIENCE, exec(&client, exec_options)).await.expect("an end")
}

async fn run(peer: &Peer) -> Result<Output, ExecError> {
    run_within(peer.address, PATIENCE, 2 * LONG).await
}

#[tokio::test]
async fn a_command_is_asked_for_without_standard_input() {
    let peer = Peer::start(V5, async |mut socket| {
        end(&mut socket, &success()).await;
    })
    .await;
    let output = run(&peer).await.unwrap();
    assert_eq!(output, Output { end: End::Exited(0), stdout: "".into(), stderr: "".into() });
    let asked = peer.asked.await.unwrap();
    let (path, query) = asked.split_once('?').unwrap();
    assert_eq!(path, "/api/v1/namespaces/shop/pods/orders-0/exec");
    let mut parts: Vec<&str> = query.split('&').filter(|part| !part.is_empty()).collect();
    parts.sort_unstable();
    let expected = [
        "command=--output%3Djson",
        "command=info",
        "command=pgbackrest",
        "container=postgres",
        "stderr=true",
        "stdout=true",
    ];
    assert_eq!(parts, expected);
}

#[tokio::test]
async fn only_the_status_tells_an_exit_code() {
    for (status, code) in
        [(success(), 0), (exit_code("50"), 50), (exit_code("124"), 124), (exit_code("-1"), -1)]
    {
        for protocol in [V5, V4] {
            let status = status.clone();
            let peer = Peer::start(protocol, async move |mut socket: Socket| {
                say(&mut socket, STDOUT, b"").await;
                say(&mut socket, STDOUT, b"out").await;
                say(&mut socket, STDERR, b"err").await;
                end(&mut socket, &status).await;
            })
            .await;
            let output = run(&peer).await.unwrap();
            let expected = Output { end: End::Exited(code), stdout: "out".into(), stderr: "err".into() };
            assert_eq!(output, expected, "{protocol}");
        }
    }
}

#[tokio::test]
async fn nothing_is_said_to_the_peer_before_the_end() {
    // With the fourth version of the protocol the end of standard input ends everything.
    for protocol in [V5, V4] {
        let peer = Peer::start(protocol, async |mut socket: Socket| {
            let heard = timeout(Duration::from_millis(200), socket.next()).await;
            assert!(heard.is_err(), "{heard:?}");
            end(&mut socket, &success()).await;
        })
        .await;
        assert_eq!(run(&peer).await.unwrap().end, End::Exited(0));
        peer.task.await.unwrap();
    }
}

#[tokio::test]
async fn a_lost_connection_is_no_exit_code() {
    // No close frame: the load balancer, the node or the API server went away.
    let dropped = Peer::start(V5, async |mut socket: Socket| {
        say(&mut socket, STDOUT, b"half").await;
    });
    // A close frame and no status, which kubectl takes for success.
    let closed = Peer::start(V5, async |mut socket: Socket| {
        say(&mut socket, STDOUT, b"half").await;
        socket.close(None).await.unwrap();
    });
    // A status that cannot be read.
    let garbled = Peer::start(V5, async |mut socket: Socket| {
        say(&mut socket, STDOUT, b"half").await;
        say(&mut socket, STATUS, b"{\"status\":").await;
    });
    // The runtime lost the command, or does not say what became of it.
    let unknown = Peer::start(V5, async |mut socket: Socket| {
        say(&mut socket, STDOUT, b"half").await;
        end(&mut socket, &internal_error("error executing command in container: transport is closing")).await;
    });
    let unnamed = Peer::start(V5, async |mut socket: Socket| {
        say(&mut socket, STDOUT, b"half").await;
        end(&mut socket, &exit_code("many")).await;
    });
    let told = ["closing handshake", "closed", "status", "transport is closing", "exit code"];
    let peers = tokio::join!(dropped, closed, garbled, unknown, unnamed);
    for (peer, told) in [peers.0, peers.1, peers.2, peers.3, peers.4].into_iter().zip(told) {
        let output = run(&peer).await.unwrap();
        let End::Lost(reason) = &output.end else { panic!("{output:?}") };
        assert!(reason.contains(told), "{reason}");
        assert_eq!(&*output.stdout, b"half", "what was printed is kept: {reason}");
    }
}

#[tokio::test]
async fn a_program_that_is_not_there_was_not_started() {
    // containerd and CRI-O.
    for message in [
        "error executing command in container: failed to exec in container: failed to start exec \"f4\": OCI runtime \
         exec failed: exec failed: unable to start container process: exec: \"pgbackrest\": executable file not found \
         in $PATH: unknown",
        "error executing command in container: container not found (\"postgres\")",
    ] {
        let peer = Peer::start(V5, async |mut socket: Socket| {
            end(&mut socket, &internal_error(message)).await;
        })
        .await;
        let error = run(&peer).await.unwrap_err();
        assert!(
            matches!(&error, ExecError::NotStarted { program, .. } if program == "pgbackrest"),
            "{error:?}"
        );
        assert!(error.to_string().contains("not found"), "{error}");
    }
}

#[tokio::test]
async fn a_refusal_is_that_of_the_call() {
    for (code, reason, failure) in [
        (403, "Forbidden", CallFailure::Forbidden),
        (404, "NotFound", CallFailure::NotFound),
        (500, "InternalError", CallFailure::Unavailable),
    ] {
        let api = FakeApi::start(Answer::status(code, reason, "no pods/exec for you")).await;
        let error = run_within(api.address, PATIENCE, LONG).await.unwrap_err();
        let ExecError::Call(error) = error else { panic!("{error:?}") };
        assert_eq!(error.failure, failure);
        assert!(error.to_string().starts_with("run pgbackrest in pod orders-0: no pods/exec"), "{error}");
        assert_eq!(api.requests().len(), 1);
    }
}

#[tokio::test]
async fn long_output_arrives_whole() {
    let whole: Vec<u8> = (0..LONG).map(|at| u8::try_from(at % 251).unwrap()).collect();
    let printed = whole.clone();
    let peer = Peer::start(V5, async move |mut socket: Socket| {
        for chunk in printed.chunks(16 * 1024) {
            say(&mut socket, STDOUT, chunk).await;
            say(&mut socket, STDERR, &chunk[..chunk.len() / 2]).await;
        }
        end(&mut socket, &success()).await;
    })
    .await;
    let output = run_within(peer.address, PATIENCE, LONG).await.unwrap();
    assert_eq!(output.end, End::Exited(0));
    assert!(*output.stdout == *whole, "{} of {LONG} bytes", output.stdout.len());
    assert!((1..LONG / 2).contains(&output.stderr.len()), "the beginning of standard error");
    assert!(whole.starts_with(&output.stderr[..8192]));
}

#[tokio::test]
async fn too_much_output_is_cut_at_once() {
    let just_one_more = Peer::start(V5, async |mut socket: Socket| {
        say(&mut socket, STDOUT, &[b'x'; 1001]).await;
        end(&mut socket, &success()).await;
    });
    let endless =
        Peer::start(
            V5,
            async |mut socket: Socket| {
                while socket.send(Message::binary(vec![STDOUT; 16 * 1024])).await.is_ok() {}
            },
        );
    let (just_one_more, endless) = tokio::join!(just_one_more, endless);
    for peer in [just_one_more, endless] {
        let error = run_within(peer.address, PATIENCE * 10, 1000).await.unwrap_err();
        assert!(matches!(error, ExecError::Output(ReadError::TooLarge(1000))), "{error:?}");
        timeout(PATIENCE, peer.task).await.expect("the connection is closed").unwrap();
    }
}

#[tokio::test]
async fn silence_ends_at_the_deadline_and_the_connection_with_it() {
    // Within that time the connection is there, on a busy machine too.
    let deadline = Duration::from_secs(3);
    // Nothing is said at all; something is said again and again, and never the end.
    let silent = Peer::start(V5, async |mut socket: Socket| while let Some(Ok(_)) = socket.next().await {});
    let chatty = Peer::start(V5, async |mut socket: Socket| {
        while socket.send(Message::binary(vec![STDOUT, b'.'])).await.is_ok() {
            sleep(Duration::from_millis(10)).await;
        }
    });
    let (silent, chatty) = tokio::join!(silent, chatty);
    let ends = |peer: Peer| async move {
        // It tells what it was asked for.
        let Peer { address, asked: _asked, task } = peer;
        let began = Instant::now();
        let error = run_within(address, deadline, LONG).await.unwrap_err();
        assert!(matches!(error, ExecError::Timeout(after) if after == deadline), "{error:?}");
        assert!(began.elapsed() >= deadline);
        timeout(PATIENCE, task).await.expect("the connection is closed").unwrap();
    };
    tokio::join!(ends(silent), ends(chatty));
    // Not even the connection is answered.
    let api = FakeApi::start(Answer::silence()).await;
    let error = run_within(api.address, Duration::from_millis(500), LONG).await.unwrap_err();
    assert!(matches!(&error, ExecError::Call(call) if call.failure == CallFailure::Timeout), "{error:?}");
    timeout(PATIENCE, api.is_left()).await.expect("the connection is closed");
}
