//! `kubectl proxy` on a Unix socket. Repeated requests through it are cheap, while each kubectl process takes a tenth of a second of CPU
//! time.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// What was answered: the status of HTTP, and the body.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
}

/// `None` where nobody answers.
pub(super) fn ask(socket: &Path, path: &str) -> Option<Answer> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
    // In this version of HTTP the answer ends with the connection, and does not come in chunks.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, body: body.to_owned() })
}

/// Where the API has the objects of a kind in a namespace. `None`: ask kubectl.
pub(super) fn collection(namespace: &str, kind: &str) -> Option<String> {
    let (group, plural) = match kind {
        "configmap" => ("api/v1", "configmaps"),
        "event" => ("api/v1", "events"),
        "pod" => ("api/v1", "pods"),
        "secret" => ("api/v1", "secrets"),
        "serviceaccount" => ("api/v1", "serviceaccounts"),
        "deployment" => ("apis/apps/v1", "deployments"),
        "statefulset" => ("apis/apps/v1", "statefulsets"),
        "cronjob" => ("apis/batch/v1", "cronjobs"),
        "job" => ("apis/batch/v1", "jobs"),
        "lease" => ("apis/coordination.k8s.io/v1", "leases"),
        "postgresql" => ("apis/cpo.opensource.cybertec.at/v1", "postgresqls"),
        _ => return None,
    };
    Some(format!("/{group}/namespaces/{namespace}/{plural}"))
}
