//! The same peer, with output that is read while the command runs.

use pgbackrest_keeper::kubernetes::exec::{Heard, follow};
use tokio::sync::mpsc;

use super::*;

fn in_postgres(command: &[String]) -> Exec<'_> {
    Exec {
        namespace: "shop",
        pod: "orders-0",
        container: "postgres",
        command,
        deadline: PATIENCE,
        most_output: 0,
    }
}

/// How it ended, and what was heard through a channel of this size that is read only at the end.
async fn heard_from(peer: &Peer, room: usize) -> (Result<End, ExecError>, Vec<Heard>) {
    let command = ["pgbackrest".to_owned(), "backup".to_owned()];
    let exec_options = in_postgres(&command);
    let client = client(peer.address).await;
    let (sender, mut receiver) = mpsc::channel(room);
    let end = timeout(PATIENCE, follow(&client, exec_options, &sender)).await.expect("an end");
    let heard = std::iter::from_fn(|| receiver.try_recv().ok()).collect();
    (end, heard)
}

fn line(text: &str) -> Heard {
    Heard::Line(text.to_owned())
}

#[tokio::test]
async fn what_was_said_is_heard_however_it_ends() {
    for protocol in [V5, V4] {
        let success = Peer::start(protocol, async |mut socket: Socket| {
            say(&mut socket, STDOUT, b"on").await;
            say(&mut socket, STDOUT, b"e\ntw").await;
            say(&mut socket, STDOUT, b"o").await;
            end(&mut socket, &success()).await;
        });
        let failure = Peer::start(protocol, async |mut socket: Socket| {
            say(&mut socket, STDERR, b"one\ntwo\n").await;
            end(&mut socket, &exit_code("50")).await;
        });
        let dropped = Peer::start(protocol, async |mut socket: Socket| {
            say(&mut socket, STDOUT, b"one\ntwo").await;
        });
        let closed = Peer::start(protocol, async |mut socket: Socket| {
            say(&mut socket, STDOUT, b"one\ntwo\n").await;
            socket.close(None).await.unwrap();
        });
        let peers = tokio::join!(success, failure, dropped, closed);
        let ends = [Some(0), Some(50), None, None];
        for (peer, code) in [peers.0, peers.1, peers.2, peers.3].into_iter().zip(ends) {
            let (end, heard) = heard_from(&peer, 10).await;
            match (end.unwrap(), code) {
                (End::Exited(exited), code) => assert_eq!(Some(exited), code, "{protocol}"),
                (End::Lost(_), code) => assert_eq!(code, None, "{protocol}"),
            }
            // Where the connection is lost, so may the last half of a line be.
            assert_eq!(heard[0], line("one"), "{protocol}");
            assert!(code.is_none() || heard[1..] == [line("two")], "{protocol}: {heard:?}");
        }
    }
}

#[tokio::test]
async fn a_refusal_is_told_and_nothing_heard() {
    let api = FakeApi::start(Answer::status(403, "Forbidden", "no pods/exec for you")).await;
    let command = ["pgbackrest".to_owned()];
    let exec_options = in_postgres(&command);
    let (sender, mut receiver) = mpsc::channel(1);
    let error = follow(&client(api.address).await, exec_options, &sender).await.unwrap_err();
    assert!(matches!(&error, ExecError::Call(call) if call.failure == CallFailure::Forbidden), "{error:?}");
    assert!(receiver.try_recv().is_err());
}

/// More than every buffer between the peer and the caller, and nobody listens.
#[tokio::test]
async fn whoever_does_not_listen_holds_up_nothing() {
    let lines = LONG / 10;
    for protocol in [V5, V4] {
        let peer = Peer::start(protocol, async move |mut socket: Socket| {
            for _ in 0..lines / 1000 {
                say(&mut socket, STDOUT, b"123456789\n".repeat(1000).as_slice()).await;
            }
            end(&mut socket, &success()).await;
        })
        .await;
        let (end, heard) = heard_from(&peer, 2).await;
        assert_eq!(end.unwrap(), End::Exited(0));
        assert_eq!(heard, [line("123456789"), line("123456789")]);
    }
}
