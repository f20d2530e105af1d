//! Pods that print what becomes large, all at once, at an operator with the memory that it is shipped with: it lives, says
//! what is wrong with each, and goes on collecting from the others.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::SinkExt;
use nix::sys::signal::Signal;
use pgbackrest_keeper::cluster::settings::Settings;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

use crate::support::exposition::Samples;
use crate::support::fake_api::kubeconfig;
use crate::support::fake_pods::primary_labels;
use crate::support::http;
use crate::support::machine::skip;
use crate::support::memory::{MemoryGroup, SHIPPED, peak};
use crate::support::process::{Running, command, wait_for};
use crate::web::memory;

const NAMESPACE: &str = "shop";
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;
const MIB: usize = 1 << 20;

/// What the pods of a cluster print for `info`, by the beginning of its name, and what becomes of it.
const MISDEEDS: [(&str, &str); 9] = [
    ("tiny-stanzas", "output_too_large"),
    ("tiny-lists", "output_too_large"),
    ("numbers", "parse"),
    ("garbage", "parse"),
    ("annotations", "output_too_large"),
    ("backups", "output_too_large"),
    ("endless", "output_too_large"),
    ("deep", "output_too_large"),
    ("errors", "exit"),
];
/// Of each kind.
const CLUSTERS: usize = 3;
/// Has thousands of backups, and so needs as much memory as the others, but rightly.
const LARGE: &str = "large-0";
/// Answers well once, and then as the first of the others.
const TURNS_BAD: &str = "turns-0";

fn healthy() -> String {
    let status = r#"{"code":0,"lock":{"backup":{"held":false}},"message":"ok"}"#;
    let backup = r#"{"archive":{"start":"000000010000000000000001","stop":"000000010000000000000001"},
        "backrest":{"format":5,"version":"2.55.1"},"database":{"id":1,"repo-key":1},"error":false,
        "info":{"delta":1,"repository":{"delta":1,"size":1},"size":1},"label":"20260101-000000F","prior":null,
        "reference":null,"timestamp":{"start":1767225600,"stop":1767225660},"type":"full"}"#;
    format!(
        r#"[{{"archive":[],"backup":[{backup}],"cipher":"none","db":[{{"id":1,"repo-key":1,"system-id":7,"version":"15"}}],
        "name":"db","repo":[{{"cipher":"none","key":1,"status":{{"code":0,"message":"ok"}}}}],"status":{status}}}]"#
    )
}

/// What a pod prints, for `info` or when its files are read, and whether it does so again and again.
fn misdeed(cluster: &str, is_info: bool) -> (Vec<u8>, bool) {
    static TURNED: AtomicBool = AtomicBool::new(false);
    if cluster == TURNS_BAD && is_info && TURNED.swap(true, Ordering::Relaxed) {
        return misdeed("tiny-stanzas-0", is_info);
    }
    let list = |entry: &str, bytes: usize| {
        let entries = entry.repeat(bytes / entry.len());
        format!("[{entries}{}]", entry.trim_end_matches(',')).into_bytes()
    };
    let in_stanza = |name: &str, text: &str| {
        let document = healthy();
        document.replacen(&format!(r#""{name}":["#), &format!(r#""{name}":[{text},"#), 1).into_bytes()
    };
    match cluster.rsplit_once('-').unwrap().0 {
        "tiny-stanzas" => (list(r#"{"name":"a"},"#, 4 * MIB), false),
        "tiny-lists" => (list(r#"["a"],"#, MIB / 2), false),
        "numbers" => (list("0,", 4 * MIB), false),
        "garbage" => ([b"[".as_slice(), &vec![0xff; 4 * MIB]].concat(), false),
        "annotations" => {
            let mut pairs = String::new();
            (0..400_000).for_each(|number| write!(pairs, r#""{number}":"","#).unwrap());
            let backup = format!(r#"{{"label":"x","annotation":{{{pairs}"a":""}}}}"#);
            (in_stanza("backup", &backup), false)
        }
        "backups" => {
            let one =
                r#"{"label":"a","type":"full","timestamp":{"start":1,"stop":2},"database":{"repo-key":1}}"#;
            let many = vec![one; 4 * MIB / one.len()].join(",");
            (in_stanza("backup", &many), false)
        }
        "endless" => (vec![b'x'; MIB], true),
        "deep" => ("[".repeat(4 * MIB).into_bytes(), false),
        "large" => (memory::info().into_bytes(), false),
        "errors" => (b"P00  ERROR: [037]: ".repeat(MIB / 4), false),
        _ => (healthy().into_bytes(), false),
    }
}

/// An API server that has these clusters, and pods that answer for them.
async fn serve(listener: TcpListener, clusters: Vec<String>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let clusters = clusters.clone();
        // A client that goes away is no error of this server.
        tokio::spawn(async move { answer(stream, &clusters).await.unwrap_or_default() });
    }
}

async fn answer(mut stream: TcpStream, clusters: &[String]) -> std::io::Result<()> {
    loop {
        let mut start = vec![0; 4096];
        let read = stream.peek(&mut start).await?;
        if read == 0 {
            return Ok(());
        }
        let start = String::from_utf8_lossy(&start[..read]).into_owned();
        let Some(target) = start.lines().next().and_then(|line| line.split(' ').nth(1)) else { continue };
        if target.contains("/exec?") {
            let target = target.to_owned();
            return print(stream, &target).await;
        }
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let head = String::from_utf8_lossy(&head).to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        stream.read_exact(&mut body).await?;
        if target.contains("watch=true") {
            let head =
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
            stream.write_all(head.as_bytes()).await?;
            // Nothing changes.
            return stream.read_u8().await.map(|_| ());
        }
        let (code, answer) = if head.starts_with("post") {
            (201, String::from_utf8_lossy(&body).into_owned())
        } else if target.contains("/secrets/") {
            // As in observe mode, where the operator has no right to read them.
            (
                403,
                json!({"kind": "Status", "status": "Failure", "code": 403, "reason": "Forbidden"})
                    .to_string(),
            )
        } else {
            (200, list(target, clusters).to_string())
        };
        let head = format!("HTTP/1.1 {code} Code\r\nContent-Type: application/json\r\nContent-Length:");
        stream.write_all(format!("{head} {}\r\n\r\n{answer}", answer.len()).as_bytes()).await?;
    }
}

fn list(target: &str, clusters: &[String]) -> Value {
    let settings = Settings::default();
    let items: Vec<Value> = if target.contains("/postgresqls") {
        clusters.iter().map(|name| resource(name)).collect()
    } else if target.contains("/pods") && target.contains("labelSelector") {
        let asked = clusters.iter().filter(|name| {
            target.contains(&format!("{name}&"))
                || target.contains(&format!("{name}%2C"))
                || target.ends_with(name.as_str())
        });
        asked.map(|name| pod(name, &settings)).collect()
    } else {
        Vec::new()
    };
    json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items})
}

fn resource(name: &str) -> Value {
    json!({
        "apiVersion": "cpo.opensource.cybertec.at/v1",
        "kind": "postgresql",
        "metadata": {"name": name, "namespace": NAMESPACE, "uid": name, "resourceVersion": "1"},
        "spec": {"teamId": "team", "numberOfInstances": 1, "postgresql": {"version": "15"}, "volume": {"size": "1Gi"},
            "backup": {"pgbackrest": {"image": "registry.example/pgbackrest:2",
                "configuration": {"secret": "bucket"}, "repos": [
                {"name": "repo1", "storage": "s3", "endpoint": "s3.example", "region": "eu", "resource": "bucket",
                    "schedule": {"full": "0 1 * * 0"}}]}}},
    })
}

fn pod(cluster: &str, settings: &Settings) -> Value {
    json!({
        "metadata": {"name": format!("{cluster}-0"), "namespace": NAMESPACE,
            "labels": primary_labels(cluster, settings)},
        "spec": {"containers": [{"name": settings.database_container}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    })
}

async fn print(stream: TcpStream, target: &str) -> std::io::Result<()> {
    #[expect(clippy::result_large_err, reason = "the signature is the library's")]
    let choose = |_: &Request, mut response: Response| {
        response
            .headers_mut()
            .insert("sec-websocket-protocol", HeaderValue::from_static("v5.channel.k8s.io"));
        Ok(response)
    };
    let Ok(mut socket) = accept_hdr_async(stream, choose).await else { return Ok(()) };
    let pod = target.split('/').skip_while(|part| *part != "pods").nth(1).unwrap_or_default();
    let cluster = pod.strip_suffix("-0").unwrap_or_default();
    let mut code = None;
    if target.contains("command=version") {
        say(&mut socket, STDOUT, b"pgBackRest 2.55.1\n").await;
    } else {
        let (output, is_endless) = misdeed(cluster, target.contains("command=info"));
        // Standard error is a flood everywhere.
        for _ in 0..64 {
            say(&mut socket, STDERR, &[b'!'; 8 * 1024]).await;
        }
        loop {
            for piece in output.chunks(32 * 1024) {
                if !say(&mut socket, STDOUT, piece).await {
                    return Ok(());
                }
            }
            if !is_endless {
                break;
            }
        }
        code = cluster.starts_with("errors").then_some("37");
    }
    let status = match code {
        None => json!({"metadata": {}, "status": "Success"}),
        Some(code) => json!({"metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": code}]}}),
    };
    say(&mut socket, STATUS, status.to_string().as_bytes()).await;
    // As the kubelet does, which closes when all has been read.
    let _ = socket.close(None).await;
    sleep(Duration::from_millis(100)).await;
    Ok(())
}

async fn say(socket: &mut WebSocketStream<TcpStream>, channel: u8, bytes: &[u8]) -> bool {
    socket.send(Message::binary([&[channel], bytes].concat())).await.is_ok()
}

/// A runtime in a thread of its own, until it is dropped.
fn fake_api(clusters: Vec<String>) -> (tokio::runtime::Runtime, SocketAddr) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(serve(listener, clusters));
    (runtime, address)
}

#[test]
fn pods_that_print_too_much_harm_nobody_else() {
    let group = match MemoryGroup::create(SHIPPED) {
        Ok(group) => group,
        Err(missing) => return skip("pods_that_print_too_much_harm_nobody_else", missing),
    };
    let kinds = MISDEEDS.iter().map(|(kind, _)| *kind).chain(["well"]);
    let named = kinds.flat_map(|kind| (0..CLUSTERS).map(move |number| format!("{kind}-{number}")));
    let clusters: Vec<String> = named.chain([TURNS_BAD, LARGE].map(str::to_owned)).collect();
    let (_runtime, api) = fake_api(clusters);
    let (directory, file) = kubeconfig(api);
    let mut program = command(None, env!("CARGO_BIN_EXE_pgbackrest-keeper"));
    program
        .args(["operator", "--web.listen-address=127.0.0.1:0", "--log.format=json", "--mode=observe"])
        .args([
            "--leader-election=false",
            "--collect.interval=30s",
            "--collect.timeout=25s",
            "--collector.wal=false",
        ])
        .arg(format!("--kubeconfig={}", file.display()));
    let log = directory.path().join("log");
    let mut operator = Running::start("operator", group.wrap(&program), &log, Signal::SIGTERM);
    let address: String = operator.wait_in_log("the operator's address", |log| {
        let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.find_map(|line| Some(line.get("address")?.as_str()?.to_owned()))
    });
    let samples = || {
        let answer =
            http::get(&format!("http://{address}/metrics"), &[("accept", "text/plain;version=0.0.4")]);
        Samples::parse(answer.expect("the operator answers").text())
    };
    let of = |samples: &Samples, name: &str, cluster: &str| {
        samples.find(name, &[("namespace", NAMESPACE), ("pg_cluster", cluster)])
    };
    let is_told = |samples: &Samples, kind: &str, up: f64| {
        (0..CLUSTERS)
            .all(|number| of(samples, "pgbackrest_collector_up", &format!("{kind}-{number}")) == Some(up))
    };
    let page = |cluster: &str| {
        let page = http::get(&format!("http://{address}/?cluster={NAMESPACE}%2F{cluster}"), &[]).unwrap();
        page.text().to_owned()
    };
    wait_for("the reason on a cluster's page", || {
        page("tiny-stanzas-0").contains("would take more than").then_some(())
    });
    wait_for("every cluster to be told of", || {
        let samples = samples();
        let bad = MISDEEDS.iter().all(|(kind, _)| is_told(&samples, kind, 0.0));
        (bad && is_told(&samples, "well", 1.0)).then_some(())
    });
    let backups = |cluster: &str| {
        samples().find("pgbackrest_backups", &[("pg_cluster", cluster), ("backup_type", "full")])
    };
    wait_for("the cluster with many backups", || {
        (backups(LARGE) == Some(memory::BACKUPS as f64)).then_some(())
    });
    let last_runs = || {
        let samples = samples();
        let name = "pgbackrest_collector_last_run_timestamp_seconds";
        let runs: Vec<_> =
            (0..CLUSTERS).map(|number| of(&samples, name, &format!("well-{number}"))).collect();
        runs
    };
    let before = last_runs();
    wait_for("the next collection", || (last_runs() != before).then_some(()));
    wait_for("the cluster that turns bad", || {
        (of(&samples(), "pgbackrest_collector_up", TURNS_BAD) == Some(0.0)).then_some(())
    });
    assert_eq!(backups(TURNS_BAD), Some(1.0), "its old facts stay");
    let samples = samples();
    for (_, reason) in MISDEEDS {
        let labels = [("collector", "info"), ("reason", reason)];
        assert!(samples.value("pgbackrest_collector_failures_total", &labels) > 0.0, "{reason}");
    }
    let labels = [("collector", "info"), ("reason", "output_too_large")];
    let too_large = samples.value("pgbackrest_collector_failures_total", &labels);
    assert!(too_large >= 6.0 * CLUSTERS as f64, "{too_large}");
    assert!(operator.ended().is_none(), "{}", operator.log());
    assert_eq!(group.kills(), 0);
    let peak = peak(operator.id());
    println!("{} clusters that print too much: {peak} MiB at most", MISDEEDS.len() * CLUSTERS);
    assert!(peak < SHIPPED >> 20, "{peak} MiB");
}
